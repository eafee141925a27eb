# make bench-decode ARGS="MODEL bf16 1 256 32": tokens per second of prompts and of generation
$(BUILD)/bench-decode: $(BUILD)/bench/decode.o $(BUILD)/bench/probe.o \
    $(foreach m,base num weights text model,$(filter $(BUILD)/src/$(m)/%,$(LIB_OBJ)))
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-decode: $(BUILD)/bench-decode
	$< $(ARGS)
.PHONY: bench-decode
