# make bench-twins ARGS="1000000 1000 2 random": duplicates and leaks among generated rows
$(BUILD)/bench-twins: $(BUILD)/bench/twins.o \
    $(foreach m,base text data,$(filter $(BUILD)/src/$(m)/%,$(LIB_OBJ)))
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-twins: $(BUILD)/bench-twins
	$< $(ARGS)
.PHONY: bench-twins
