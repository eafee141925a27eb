# The starter model: generated text, own tokenizer, trained from nothing by attune itself.
$(BUILD)/starter-%: $(BUILD)/tools/starter/%.o $(filter $(BUILD)/src/base/% $(BUILD)/src/text/%,$(OBJ))
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)

# make demo MODEL=smollm2: with a real instruct model of 135 M parameters
demo:
	@tools/deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@tools/demo.sh $(MODEL)
# half an hour on two free cores
starter: $(BUILD)/attune $(BUILD)/starter-gen $(BUILD)/starter-tokenizer
	tools/starter/run
# the demo's rows, the same bytes every time
examples: $(BUILD)/starter-gen
	$< train 360 11 chat tools/starter/words.grammar tools/starter/bookings.grammar \
	    > examples/bookings.train.jsonl
	$< test 50 13 chat tools/starter/words.grammar tools/starter/bookings.grammar \
	    > examples/bookings.test.jsonl

.PHONY: demo starter examples

-include $(wildcard $(BUILD)/tools/starter/*.d)
