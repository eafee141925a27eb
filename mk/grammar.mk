# make bench-grammar ARGS="TOKENIZER_DIRECTORY": what a mask costs
$(BUILD)/bench-grammar: $(BUILD)/bench/grammar.o \
    $(foreach m,base text,$(filter $(BUILD)/src/$(m)/%,$(LIB_OBJ)))
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-grammar: $(BUILD)/bench-grammar
	$< $(ARGS)
.PHONY: bench-grammar
