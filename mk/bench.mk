# Benchmarks: make bench-matmul ARGS="threads=1 m=512", make bench-ops ARGS="threads=1 op=attention"
BENCH_NUM := $(filter $(BUILD)/src/base/% $(BUILD)/src/num/%,$(LIB_OBJ))
$(BUILD)/bench-matmul: $(BUILD)/bench/matmul.o $(BUILD)/bench/probe.o $(BENCH_NUM)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-matmul: $(BUILD)/bench-matmul
	$< $(ARGS)
$(BUILD)/bench-ops: $(BUILD)/bench/ops.o $(BUILD)/bench/probe.o $(BENCH_NUM)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-ops: $(BUILD)/bench-ops
	$< $(ARGS)
-include $(wildcard $(BUILD)/bench/*.d)
.PHONY: bench-matmul bench-ops
