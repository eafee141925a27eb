# make bench-decode ARGS="MODEL bf16 1 256 32": tokens per second of prompts and of generation
$(BUILD)/bench-decode: $(BUILD)/bench/decode.o $(BUILD)/bench/probe.o \
    $(foreach m,base num weights text model,$(filter $(BUILD)/src/$(m)/%,$(LIB_OBJ)))
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-decode: $(BUILD)/bench-decode
	$< $(ARGS)
.PHONY: bench-decode
# make bench-serve ARGS="MODEL bf16 2 16 64": generated tokens per second of 1 to 16 streams, with adapters
$(BUILD)/bench-serve: $(BUILD)/bench/serve.o $(BUILD)/bench/probe.o \
    $(foreach m,base num weights text model infer,$(filter $(BUILD)/src/$(m)/%,$(LIB_OBJ)))
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-serve: $(BUILD)/bench-serve
	$< $(ARGS)
.PHONY: bench-serve
