# The everyday checks.
JOBS := $(shell nproc 2>/dev/null || echo 2)

# Deps first, in a make of its own: the libraries' flags are only known when they are there.
test:
	@tools/deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/unit $(BUILD)/starter-tokenizer $(BUILD)/starter-gen
	@$(MAKE) --no-print-directory check
deps:
	@tools/deps

check: check-unit check-cli check-readme layers tidy dead

check-cli: $(BUILD)/attune
	@tests/cli/run $<
check-readme: $(BUILD)/attune
	@tests/readme $<
layers:
	@tools/layers
tidy:
	@tools/tidy
dead: $(BUILD)/attune $(BUILD)/unit $(BUILD)/starter-gen $(BUILD)/starter-tokenizer
	@tools/dead $(BUILD)
format:
	clang-format -i $$(git ls-files '*.c' '*.h')

# What races would show in: everything that runs on the pool or in threads of its own, under
# ThreadSanitizer.
check-threads: $(BUILD)/unit
	@for group in base num model train infer store jobs api; do $< $$group || exit 1; done

.PHONY: test deps check check-cli check-readme layers tidy dead format check-threads
