# Tokenizers against the Python package `tokenizers`: needs $(PYTHON) with tokenizers, transformers
# and (for GGUF) gguf and llama_cpp.
PYTHON ?= python3
$(BUILD)/tokenize_batch: tests/parity/tokenize_batch.c $(LIB_OBJ)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)

parity-tokenizers:
	@$(MAKE) --no-print-directory MODULES="base text" $(BUILD)/tokenize_batch
	$(PYTHON) tests/parity/tokenizers_ids.py --driver $(BUILD)/tokenize_batch --data ../shared/data
	$(PYTHON) tests/parity/tokenizers_random.py $(BUILD)/tokenize_batch
.PHONY: parity-tokenizers
