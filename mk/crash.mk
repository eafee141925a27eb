# Killed and torn: slower than the everyday tests.
check-crash: $(BUILD)/attune
	@tests/crash/kill_train $<

.PHONY: check-crash
