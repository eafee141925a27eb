# make bench-source ARGS="1000000 2": reading a data set of so many rows, or a file, beside jansson
$(BUILD)/bench-source: $(BUILD)/bench/source.o \
    $(foreach m,base text data,$(filter $(BUILD)/src/$(m)/%,$(LIB_OBJ)))
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-source: $(BUILD)/bench-source
	$< $(ARGS)
.PHONY: bench-source
