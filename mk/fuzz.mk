# Fuzzing. tests/fuzz/fuzz_<topic>.c is one target; tests/fuzz/corpus/<topic>/ its committed inputs.
#   make fuzz-<topic>                builds build/fuzz/fuzz-<topic> with clang's libFuzzer
#   make run-fuzz SECONDS_EACH=600   runs each for that long; what it finds goes to build/fuzz/
#   make check-fuzz                  replays the committed inputs under ASan and UBSan, with CC
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
SECONDS_EACH ?= 60

$(BUILD)/fuzz-%: $(BUILD)/tests/fuzz/fuzz_%.o $(LIB_OBJ)
	$(Q)$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer $(LDFLAGS) $^ -o $@ $(LIBS)
$(BUILD)/replay-%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay_main.o $(LIB_OBJ)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
# a fuzz target's entry has the name and the lack of a prototype that libFuzzer wants
$(BUILD)/tests/fuzz/%.o: WARN += -Wno-missing-prototypes

$(FUZZ:%=fuzz-%): fuzz-%: FORCE
	@$(MAKE) --no-print-directory MODE=fuzz build/fuzz/fuzz-$*

fuzzers: $(FUZZ:%=$(BUILD)/fuzz-%)
# The kernels parse nothing, and clang needs minutes to instrument them.
ifeq ($(MODE),fuzz)
$(BUILD)/src/num/%.o: OPT.fuzz := -O1 -g
endif

run-fuzz:
	@$(MAKE) --no-print-directory MODE=fuzz fuzzers
	@for t in $(FUZZ); do mkdir -p build/fuzz/found/$$t; \
	    build/fuzz/fuzz-$$t -max_total_time=$(SECONDS_EACH) -rss_limit_mb=2048 -timeout=30 -verbosity=0 \
	        -artifact_prefix=build/fuzz/ build/fuzz/found/$$t tests/fuzz/corpus/$$t || exit 1; done

replay: $(FUZZ:%=$(BUILD)/replay-%)
	@for t in $(FUZZ); do printf '%s: ' $$t; $(BUILD)/replay-$$t tests/fuzz/corpus/$$t || exit 1; done
check-fuzz:
	@$(MAKE) --no-print-directory MODE=asan replay

.PHONY: fuzzers run-fuzz replay check-fuzz

-include $(wildcard $(BUILD)/tests/fuzz/*.d)
