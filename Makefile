# make            the program, build/release/attune
# make demo       installs what is needed, builds, fine-tunes the starter model, shows the difference
# make test       installs what is needed, builds, runs the everyday tests
# See HACKING.md for the rest. MODE=release|debug|asan|tsan|fuzz|cov   CC=gcc|clang   WERROR=1

MODE   ?= release
PREFIX ?= /usr/local
BUILD  := build/$(MODE)

# Modules from the ground up; a module sees those before it (tools/layers.awk checks the exact rule).
MODULES := base num weights text store data model train infer eval registry jobs api cli
PKGS    := jansson libcurl libpcre2-8 libutf8proc libcrypto sqlite3 libmicrohttpd

WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
CSTD   := -std=c11 -D_GNU_SOURCE
OPT.release := -O2 -g
OPT.debug   := -O0 -g3
OPT.asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT.tsan    := -O1 -g -fsanitize=thread
OPT.fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
OPT.cov     := -O0 -g --coverage
ifeq ($(MODE),fuzz)
CC := clang
endif
ifdef WERROR
WARN += -Werror
endif

GOALS_WITHOUT_BUILD := demo test deps clean format help
ifneq ($(filter-out $(GOALS_WITHOUT_BUILD),$(or $(MAKECMDGOALS),all)),)
MISSING := $(foreach p,$(PKGS),$(if $(shell pkg-config --exists $(p) 2>/dev/null && echo y),,$(p)))
ifneq ($(strip $(MISSING)),)
$(error missing libraries: $(MISSING); "make deps" installs them)
endif
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS))
PKG_LIBS   := $(shell pkg-config --libs $(PKGS))
endif

CFLAGS_ALL = $(CSTD) $(WARN) $(OPT.$(MODE)) -Isrc $(PKG_CFLAGS) -pthread -ffp-contract=off $(CFLAGS)
LIBS       := $(PKG_LIBS) -lm -pthread

SRC     := $(foreach m,$(MODULES),$(wildcard src/$(m)/*.c))
OBJ     := $(SRC:%.c=$(BUILD)/%.o)
LIB_OBJ := $(filter-out $(BUILD)/src/cli/%,$(OBJ))
UNIT    := $(wildcard tests/unit/*.c)

all: $(BUILD)/attune

# Kernels are compiled for their instruction set alone and chosen at run time.
X86 := $(filter x86_64 amd64,$(shell uname -m))
ifneq ($(X86),)
# Sanitized kernels at -O3 take minutes to compile and are not what is timed.
KERNEL_OPT := $(if $(filter asan tsan fuzz cov,$(MODE)),-O1,-O3)
$(BUILD)/src/num/%_avx2.o:       ISA := $(KERNEL_OPT) -mavx2 -mfma -mf16c
$(BUILD)/src/num/%_avx512.o:     ISA := $(KERNEL_OPT) -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl
$(BUILD)/src/num/%_avx512bf16.o: ISA := $(KERNEL_OPT) -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16
$(BUILD)/src/num/%_amx.o:        ISA := $(KERNEL_OPT) -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mamx-tile -mamx-bf16
endif
# -Wconversion everywhere but in the maths, where casts between index and float would bury the code
$(BUILD)/src/%.o: CONV = $(if $(filter src/num/%,$<),,-Wconversion)

# A change of flags rebuilds.
FLAGS_NOW := $(CC) $(CFLAGS_ALL)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' > $@

# V=1 shows the commands
Q := $(if $(V),,@)
$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(CFLAGS_ALL) $(CONV) $(ISA) -MMD -MP -c $< -o $@

$(BUILD)/attune: $(OBJ)
	@echo '  LINK  $@'
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)

# --- tests -----------------------------------------------------------------------------------------
$(BUILD)/unit: $(LIB_OBJ) $(UNIT:%.c=$(BUILD)/%.o)
	@echo '  LINK  $@'
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS) -lcmocka

# one module with the ones below it: make unit-text
UNIT_DEPS.base    := base
UNIT_DEPS.num     := base num
UNIT_DEPS.weights := base weights
UNIT_DEPS.text    := base text
UNIT_DEPS.data    := base text store data
UNIT_DEPS.model   := base num weights text model
UNIT_DEPS.train   := base num weights text store data model train
UNIT_DEPS.infer   := base num weights text store data model infer
UNIT_DEPS.store   := base store
UNIT_DEPS.registry := base num weights text store model registry
UNIT_DEPS.eval    := base text store data eval
UNIT_DEPS.jobs    := base num weights text store data model train eval registry jobs
UNIT_DEPS.api     := base num weights text store data model train infer eval registry jobs api
$(BUILD)/unit-%: FORCE
	@$(MAKE) --no-print-directory MODULES="$(UNIT_DEPS.$*)" UNIT="$(wildcard tests/unit/u_main.c tests/unit/u_$*.c tests/unit/u_$*_*.c)" $(BUILD)/unit-$*.bin
$(BUILD)/unit-%.bin: $(LIB_OBJ) $(UNIT:%.c=$(BUILD)/%.o)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS) -lcmocka
unit-%: $(BUILD)/unit-%
	$(BUILD)/unit-$*.bin

# all of it; the log is shown where something fails
check-unit: $(BUILD)/unit
	@$< >$(BUILD)/unit.log 2>&1 || { grep -aE 'FAILED|ERROR|error:|runtime error|^ *#[0-9]|skipped' \
	    $(BUILD)/unit.log | tail -n 60; echo "unit: FAILED, see $(BUILD)/unit.log"; exit 1; }
	@grep -a '^skipped' $(BUILD)/unit.log | sort | uniq -c | sed 's/^ */unit: /' || true
	@echo "unit: $$(grep -ac '^\[       OK' $(BUILD)/unit.log) tests passed"

# benches, emulated kernels, crash tests, fuzzing, ...: one file each
include $(wildcard mk/*.mk)

-include $(OBJ:.o=.d) $(UNIT:%.c=$(BUILD)/%.d)

compile_commands.json: FORCE
	@$(MAKE) -nB $(BUILD)/attune | tools/compile_commands > $@

install: $(BUILD)/attune
	install -D -m 755 $< $(DESTDIR)$(PREFIX)/bin/attune
	for f in models/starter/*; do \
	    install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/attune/starter/$${f##*/}; done

clean:
	rm -rf build

.PHONY: all clean install check-unit FORCE
.SECONDARY:
