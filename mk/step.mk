# make bench-step ARGS="MODEL 8 64 32": one training step part by part, against the machine's limits
$(BUILD)/bench-step: $(BUILD)/bench/step.o $(BUILD)/bench/probe.o \
    $(foreach m,base num weights text data model train,$(filter $(BUILD)/src/$(m)/%,$(LIB_OBJ)))
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-step: $(BUILD)/bench-step
	$< $(ARGS)
.PHONY: bench-step
