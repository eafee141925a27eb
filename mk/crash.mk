# Killed, torn, starved and lied to: slower than the everyday tests. More by hand, for example
#   tests/crash/kill_serve build/release/attune 50 SEED
#   tests/crash/fuzz_http build/asan/attune 10000 SEED
KILLS ?= 3
check-crash: $(BUILD)/attune
	@tests/crash/kill_train $<
	@tests/crash/kill_serve $< $(KILLS)
	@tests/crash/disk_full $<
	@tests/crash/slow_clients $<
	@tests/crash/fuzz_http $< 2000

# make MODE=asan soak SECONDS=180
SECONDS ?= 180
soak: $(BUILD)/attune
	@tests/e2e/soak $(SECONDS) $<

.PHONY: check-crash soak
