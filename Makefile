# One make, one graph. Each folder adds its own sources in module.mk; nothing recurses.
# `make help` lists the targets. Variables worth knowing:
#   FLAVOR=debug|release|asan|tsan|cov|fuzz   CC=gcc|clang   WERROR=1   V=1 (show commands)
#   O=folder   another build folder, for a second builder in the same checkout (default: build)
VERSION := 0.1.0

# What `up` and `bench` run: release, unless a flavor was asked for.
RUN_FLAVOR := $(if $(filter undefined,$(origin FLAVOR)),release,$(FLAVOR))
FLAVOR ?= debug
ifeq ($(filter $(FLAVOR),debug release asan tsan cov fuzz),)
  $(error FLAVOR=$(FLAVOR) is not one of debug, release, asan, tsan, cov, fuzz)
endif

ifeq ($(origin CC),default)
  CC := gcc
endif
ifeq ($(FLAVOR)$(findstring clang,$(CC)),fuzz)
  override CC := clang# libFuzzer is clang's
endif
COMPILER := $(if $(findstring clang,$(CC)),clang,gcc)

O ?= build
B := $(O)/$(FLAVOR)$(if $(filter-out fuzz,$(FLAVOR)),$(if $(filter clang,$(COMPILER)),-clang))

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
  -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual -Wcast-align \
  -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum \
  -Wnull-dereference -Wdouble-promotion -Wredundant-decls
ifneq ($(filter true 1,$(CI) $(WERROR)),)
  WARNINGS += -Werror
endif
ifeq ($(COMPILER)-$(filter asan tsan,$(FLAVOR)),gcc-$(FLAVOR))
  # gcc documents false positives of these two under its sanitizers; the other flavors keep them.
  WARNINGS += -Wno-null-dereference -Wno-maybe-uninitialized
endif

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

FLAGS_debug   := -O0
FLAGS_release := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
FLAGS_asan    := -O1 $(SANITIZE)
FLAGS_tsan    := -O1 -fsanitize=thread -fno-omit-frame-pointer
FLAGS_cov     := -O0 --coverage
FLAGS_fuzz    := -O1 -fsanitize=fuzzer-no-link $(SANITIZE)

LDFLAGS_release := -pie -Wl,-z,relro,-z,now
LDFLAGS_asan    := $(SANITIZE)
LDFLAGS_tsan    := -fsanitize=thread
LDFLAGS_cov     := --coverage
LDFLAGS_fuzz    := $(SANITIZE)

# CPPFLAGS, CFLAGS, LDFLAGS and LDLIBS stay free for whoever calls make; they come last.
ALL_CPPFLAGS := -I. -D_GNU_SOURCE -DRIA_VERSION='"$(VERSION)"' $(CPPFLAGS)
ALL_CFLAGS   := -std=c11 -g $(FLAGS_$(FLAVOR)) $(WARNINGS) -fno-common -fno-strict-aliasing \
  -pthread $(CFLAGS)
ALL_LDFLAGS  := $(LDFLAGS_$(FLAVOR)) -pthread -Wl,--as-needed $(LDFLAGS)

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

Q     := $(if $(V),,@)
SAY    = $(if $(V),:,printf '  %-5s %s\n')
NPROC := $(shell nproc 2>/dev/null || echo 1)
# For sub-makes: as many jobs as cores, unless the caller already chose.
JOBS   = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(NPROC))

# An output appears whole or not at all, so that two makes in one checkout do not meet half a file.
# gcov names its notes after the output, hence the exception.
into = $(if $(filter cov,$(FLAVOR)),-o $@,-o $@.$$$$ && mv -f $@.$$$$ $@)

LIBRARIES :=
PROGRAMS  :=
TESTS     :=# with the libraries of tests/
FUZZERS   :=
OBJECTS   :=

# All four may be written $(call ...) or $(eval $(call ...)). The order of libraries is free, and
# a program gets the ldlibs of every library it names.

# $(call library,name,sources[,ldlibs])         -> build/FLAVOR/name.a
library = $(eval $(call library_rule,$(strip $(1)),$(strip $(2)),$(strip $(3)),$(lastword $(MAKEFILE_LIST))))
define library_rule
OBJECTS     += $(patsubst %.c,$(B)/%.o,$(2))
LDLIBS_$(1) := $(3)
$(if $(filter tests/%,$(2)),TESTS,LIBRARIES) += $(B)/$(1).a
$(B)/$(1).a: $(patsubst %.c,$(B)/%.o,$(2)) $(4)
	@mkdir -p $$(@D) && $(SAY) AR $$@
	$(Q)rm -f $$@.$$$$$$$$ && $(AR) qcs $$@.$$$$$$$$ $$(filter %.o,$$^) && mv -f $$@.$$$$$$$$ $$@
endef

# $(call program,name,sources,libraries,ldlibs) -> build/FLAVOR/bin/name
program = $(eval $(call binary_rule,PROGRAMS,bin/$(strip $(1)),$(strip $(2)),$(strip $(3)),$(strip $(4)),,$(lastword $(MAKEFILE_LIST))))

# $(call test,path/to/x_test,libraries,ldlibs)  -> build/FLAVOR/path/to/x_test
# `make test` runs those named *_test as unit suites; others (the simulator, a benchmark) are only
# built.
test = $(eval $(call binary_rule,TESTS,$(strip $(1)),$(strip $(1)).c,$(strip $(2)),$(strip $(3)),,$(lastword $(MAKEFILE_LIST))))

# $(call fuzz,path/to/x_fuzz,libraries,ldlibs)  -> build/fuzz/path/to/x_fuzz, only with FLAVOR=fuzz
fuzz = $(eval $(call binary_rule,FUZZERS,$(strip $(1)),$(strip $(1)).c,$(strip $(2)),$(strip $(3)),-fsanitize=fuzzer,$(lastword $(MAKEFILE_LIST))))

define binary_rule
$(1) += $(B)/$(2)
OBJECTS += $(patsubst %.c,$(B)/%.o,$(3))
$(B)/$(2): $(patsubst %.c,$(B)/%.o,$(3)) $(patsubst %,$(B)/%.a,$(4)) $(7)
	@mkdir -p $$(@D) && $(SAY) LINK $$@
	$(Q)$(CC) $(ALL_LDFLAGS) $(6) -Wl,--start-group $$(filter %.o %.a,$$^) -Wl,--end-group \
	  $(5) $$(foreach l,$(4),$$(LDLIBS_$$(l))) $(LDLIBS) $$(into)
endef

MODULES := $(wildcard common/module.mk schemas/module.mk services/*/module.mk \
  tests/*/module.mk tests/*/*/module.mk tests/*/*/*/module.mk tests/*/*/*/*/module.mk)
include $(MODULES)

OBJECTS := $(sort $(OBJECTS))
SIM     := $(filter $(B)/tests/sim/sim,$(TESTS))
CRASH   := $(filter $(B)/tests/crash/%,$(TESTS))
CHECKER := $(filter $(B)/tests/sim/check_history,$(TESTS))

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D) && $(SAY) CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< $(into)

-include $(OBJECTS:.o=.d)

# --- build -------------------------------------------------------------------------------------

all: $(LIBRARIES) $(PROGRAMS) ## build every program (FLAVOR=debug); needs no test packages
	@:

release: ## build every program with FLAVOR=release
	@+$(MAKE) --no-print-directory FLAVOR=release all

everything: all $(TESTS) ## build programs and tests, run nothing

objects: $(OBJECTS) ## compile every source, link nothing
	@:

ifeq ($(FLAVOR),fuzz)
fuzzers: $(FUZZERS)
else
fuzzers: ## build the fuzz targets, run nothing
	@+$(MAKE) --no-print-directory FLAVOR=fuzz fuzzers
endif

gen: ## regenerate schemas/gen from schemas/messages and schemas/records
	python3 tools/schemagen.py

options: all ## write docs/options.md from the programs' option tables
	tools/options.sh $(B)/bin > docs/options.md

clean: ## remove the build folder
	rm -rf --one-file-system $(O)

# --- test --------------------------------------------------------------------------------------

# T names suites or single tests ("recovery", "recovery.a_torn_tail_is_cut", "sim.17",
# "fuzz.codec"); only what they need is built.
T_SUITES      := $(foreach t,$(T),$(firstword $(subst ., ,$(t))))
UNIT_TESTS    := $(filter %_test,$(TESTS))
PICKED        := $(if $(T),$(foreach s,$(T_SUITES),$(filter %/$(s)_test,$(UNIT_TESTS))),$(UNIT_TESTS))
PICKED_SYSTEM := $(if $(T),$(wildcard $(T_SUITES:%=tests/system/%_test.py)))
TEST_NEEDS    := $(if $(T),$(PICKED) $(if $(PICKED_SYSTEM),$(PROGRAMS)) \
                   $(if $(filter sim,$(T_SUITES)),$(SIM)) \
                   $(if $(filter crash,$(T_SUITES)),$(CRASH) $(PROGRAMS)),$(PROGRAMS) $(TESTS))

test: ## unit, system, sim and short fuzz tests; T=suite or T=suite.test for a part
	@tools/deps/install.sh build test
	@+$(MAKE) --no-print-directory $(JOBS) run-tests

run-tests: $(TEST_NEEDS)
	@+MAKE='$(MAKE)' tests/run --build='$(B)' --fuzz-build='$(O)/fuzz' --only='$(T)' \
	  --fuzzers='$(FUZZERS:$(B)/%=%)' $(PICKED)

run-unit: $(UNIT_TESTS)
	@tests/run --build='$(B)' --unit $(UNIT_TESTS)

sim: $(SIM) ## the whole cluster in one deterministic process; SEED=n or SEEDS=a..b
	@test -n '$(SIM)' || { echo 'there is no tests/sim/sim yet' >&2; exit 1; }
	$(SIM) $(if $(SEED),--seed=$(SEED)) $(if $(SEEDS),--seeds=$(SEEDS)) $(if $(FAULTS),--faults=$(FAULTS))

SECONDS ?= 60

nemesis: ## real processes under faults for SECONDS (60); SEED=n, NEMESIS=options of nemesis.py
	@tools/deps/install.sh build test
	@+$(MAKE) --no-print-directory $(JOBS) all $(CHECKER)
	RIACHO_BIN='$(abspath $(B)/bin)' PYTHONDONTWRITEBYTECODE=1 tests/nemesis/nemesis.py \
	  --seconds=$(SECONDS) $(if $(SEED),--seed=$(SEED)) --checker=$(B)/tests/sim/check_history $(NEMESIS)

FUZZ_SECONDS ?= 10

fuzz: ## run each fuzz target for FUZZ_SECONDS (10); needs clang
	@+$(MAKE) --no-print-directory $(JOBS) FLAVOR=fuzz fuzzers run-fuzzers

run-fuzzers: $(FUZZERS)
	tools/fuzz.sh $(B) $(FUZZ_SECONDS) $(FUZZERS)

mutants: ## put known bugs back one at a time: every one must be noticed; PART=0/3 for a third
	@tools/deps/install.sh build test
	@tests/mutants/run.py $(if $(PART),--part=$(PART)) $(MUTANTS)

bench: ## measure a local cluster (tests/bench/run.sh, FLAVOR=release)
	@+$(MAKE) --no-print-directory $(JOBS) FLAVOR=$(RUN_FLAVOR) everything
	RIACHO_BIN='$(abspath $(O)/$(RUN_FLAVOR)/bin)' tests/bench/run.sh

bench-failover: ## what the loss of a storage node costs (tests/bench/run.sh failover)
	@+$(MAKE) --no-print-directory $(JOBS) FLAVOR=$(RUN_FLAVOR) everything
	RIACHO_BIN='$(abspath $(O)/$(RUN_FLAVOR)/bin)' tests/bench/run.sh failover

test-compose: ## test the containers of docker-compose.yml
	tests/compose/run.sh

check-trixie: ## build and unit-test on Debian 13 in a chroot (needs root and debootstrap)
	tools/check_trixie.sh '$(O)'

# --- style -------------------------------------------------------------------------------------

check: ## format, layers, sizes, generated code, headers, scripts, links; DIR=folder for a part
	@CC='$(CC)' CHECK_FLAGS="$(ALL_CPPFLAGS) $(filter-out -g -Werror,$(ALL_CFLAGS)) -Werror" \
	  tools/check.sh $(DIR)

format: ## apply clang-format 14; DIR=folder for a part
	@tools/format.sh $(DIR)

# --- run ---------------------------------------------------------------------------------------

deps: ## install the missing Debian packages
	@tools/deps/install.sh build run test

up: ## build, then start a local cluster
	@tools/deps/install.sh build run
	@+$(MAKE) --no-print-directory $(JOBS) FLAVOR=$(RUN_FLAVOR) all
	@$(CLUSTER) up

down: ## stop the local cluster, keep its data
	@$(CLUSTER) down

reset: ## stop the local cluster and delete its data
	@$(CLUSTER) reset

CLUSTER = RIACHO_BIN='$(abspath $(O)/$(RUN_FLAVOR)/bin)' tools/cluster.sh

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: all release everything objects fuzzers gen options clean test run-tests run-unit sim nemesis fuzz run-fuzzers mutants bench \
  bench-failover test-compose check-trixie check format deps up down reset help
