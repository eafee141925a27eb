# Kernels for AVX-512, AVX-512 BF16 and AMX through the unit tests of the matrix products on a CPU that
# lacks them: their intrinsics come from tests/emulate. Needs SIMDe (libsimde-dev).
EMULATED := $(foreach s,avx512 avx512bf16 amx,src/num/matmul_$(s).c) src/num/isa.c
EMU      := $(BUILD)/emulate
EMU_OBJ  := $(EMULATED:%.c=$(EMU)/%.o) \
            $(filter-out $(EMULATED:%.c=$(BUILD)/%.o),$(filter $(BUILD)/src/base/% $(BUILD)/src/num/%,$(LIB_OBJ)))
$(EMU)/%.o: %.c $(wildcard tests/emulate/*) $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(filter-out -Wshadow,$(CFLAGS_ALL)) -Wno-psabi -DNUM_EMULATE -Itests/emulate -mavx2 -mfma -mf16c -MMD -MP -c $< -o $@
$(BUILD)/unit-emulate: $(EMU_OBJ) $(BUILD)/tests/unit/u_main.o $(BUILD)/tests/unit/u_num_matmul.o
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS) -lcmocka
check-emulate: $(BUILD)/unit-emulate
	$< num_matmul
-include $(wildcard $(EMU)/src/num/*.d)
.PHONY: check-emulate
