# The words a person types. What they mean stands in the scripts and crates they call.

# Built by the user who types, run with root's rights: namespaces, mounts and cgroups need them. sudo would replace
# PATH by its own, in which a cargo from rustup is not; a user's own lacks root's programs, such as iptables.
ifneq ($(shell id -u),0)
SUDO := sudo -E env PATH=$(PATH):/usr/local/sbin:/usr/sbin:/sbin
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER := $(SUDO)
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER := $(SUDO)
endif
GRADE := $(SUDO) target/release/grade

# Recipes read these from the environment: no blank or quote in a path can then end a word. Not every shell expands NAME=~/path.
override export SUBMISSION := $(subst ~/,$(HOME)/,$(SUBMISSION))
override export HANDINS := $(subst ~/,$(HOME)/,$(HANDINS))
override export OUT := $(subst ~/,$(HOME)/,$(OUT))
override export ROSTER := $(subst ~/,$(HOME)/,$(ROSTER))
export JOBS EDITION ROLL ANYWAY
override export DIR := $(subst ~/,$(HOME)/,$(DIR))

.PHONY: help setup build demo test check check-task1 check-task2 check-task3 check-task4 check-class next progress watch diff-task1 diff-task2 handin starter bless self-test prove bench vm vm-run test-vm lint msrv fresh book docs clean

# `##+` is a word of the course's; what students get has no zoo.
help: ## this list
	@grep -E '^[a-z0-9-]+:.*##$(if $(wildcard crates/grader/zoo),\+?) ' $(MAKEFILE_LIST) | sed -E 's/:.*##\+? /\t/' | expand -t 16

setup: ## make a bare Debian 12 or 13 ready (packages, a cargo that is new enough)
	vm/provision

build: programs grade ## build everything, as `cargo build --release`

# What the tasks run. The grader takes as long to compile as all of this.
programs: setup
	cargo build --release --locked --workspace --exclude grader
	@# Half of a short command was the start of the program. Linked for one place and with all it needs, there is no loader
	@# to run, no library to map and no address to correct. (Of its memory, only the program's own place is no secret then.)
	cargo rustc --release --locked --package task3-conductor --bin conductor -- -C target-feature=+crt-static -C relocation-model=static
	@task3-conductor/bench/reread "$${CARGO_TARGET_DIR:-target}/release/conductor"
	task4-services/bundle

# The grader alone: it builds the task that it is to grade, and no other.
.PHONY: grade programs test-cluster
grade: setup
	cargo build --release --locked --package grader

demo: programs ## run the tasks in order, each told and checked
	$(SUDO) docs/demo

test: setup ## all tests; those that need root get it through sudo (ONLY=task1-namespaces for one package's)
	task4-services/bundle
	@# A signal that is ignored here, as by nohup or in the background of a script, would be in all that is tested.
	env --default-signal cargo test --locked --no-fail-fast $(if $(ONLY),--package $(ONLY),--workspace) -- --include-ignored

check: check-task1 check-task2 check-task3 check-task4 ## grade every task

check-task1: grade ## grade task 1 (SUBMISSION=DIR for another one than this workspace)
	$(GRADE) task1 $(if $(SUBMISSION),--submission "$$SUBMISSION")

check-task2: grade ## grade task 2
	$(GRADE) task2 $(if $(SUBMISSION),--submission "$$SUBMISSION")

check-task3: grade ## grade task 3
	$(GRADE) task3 $(if $(SUBMISSION),--submission "$$SUBMISSION")

check-task4: grade ## grade task 4
	task4-services/bundle
	$(GRADE) task4 $(if $(SUBMISSION),--submission "$$SUBMISSION")

next: grade ## the lesson to write next: its file, its sheet, its checks
	@target/release/grade next || true

progress: grade ## all lessons, and which are written
	@target/release/grade progress || true

watch: grade ## grade a task again on each save (TASK=1)
	$(GRADE) watch task$(or $(TASK),1)

check-class: grade ##+ grade a whole class: HANDINS=DIR OUT=DIR [ROSTER=FILE.csv] [JOBS=N]
	@$(if $(and $(HANDINS),$(OUT)),,echo 'make check-class: say where, as in make check-class HANDINS=hand-ins OUT=marks' >&2; exit 2)
	$(GRADE) class "$$HANDINS" --out "$$OUT" $(if $(ROSTER),--roster "$$ROSTER") $(if $(JOBS),--jobs "$$JOBS")

diff-task1: grade ## task 1's output beside the reference
	$(GRADE) task1 --diff $(if $(SUBMISSION),--submission "$$SUBMISSION")

diff-task2: grade ## task 2's output beside the reference
	$(GRADE) task2 --diff $(if $(SUBMISSION),--submission "$$SUBMISSION")

handin: ## pack what is to be handed in: ROLL=24m0001
	@editions/handin rust

test-cluster: grade ##+ grade a class on a real Slurm of four nodes on this machine, one of which is lost
	vm/provision --cluster
	$(SUDO) crates/grader/tests/cluster/run target/release/grade


starter: grade ##+ make what students get, every lesson unwritten: DIR=~/handout, which must not be there yet [EDITION=rust|c]
	@$(if $(DIR),,echo 'make starter: say where, as in make starter DIR=~/handout' >&2; exit 2)
	target/release/grade starter "$$DIR" $(if $(EDITION),--edition "$$EDITION")

bless: grade ##+ record the reference outputs anew and show what changed
	$(GRADE) bless task1
	$(GRADE) bless task2

self-test: build ##+ grade the zoo of right and wrong programs and print who lost what
	$(GRADE) self-test --mutants --jobs $$(nproc)

prove: setup ##+ attacks, faults, kills and bad inputs against conductor: all tests of task 3 in full, counted in tables
	task3-conductor/tests/cases/prove

bench: build ##+ how long the daily commands take, beside peers
	task3-conductor/bench/build
	cargo build --release --locked --package task4-services --examples
	$(SUDO) target/release/examples/bench target/release
	$(SUDO) target/release/examples/load target/release

vm: ##+ the Debian machine for VirtualBox, UTM and qemu, made from vm/
	vm/build

vm-run: ##+ start that machine in qemu
	vm/boot

test-vm: setup ##+ try everything in a throwaway machine (ONLY=cgroup,reboot for parts of it)
	vm/test $(if $(ONLY),--only $(ONLY))

lint: setup ##+ format, clippy, docs, licences: all without a warning
	.ci/lint

msrv: setup ##+ build with Debian 13's cargo, in a bare Debian 13
	vm/bare trixie cargo build --locked --offline --workspace --all-targets

fresh: setup ##+ README's two commands on a bare Debian 13 (ONLY=bookworm on a bare 12)
	vm/bare --fresh $(or $(ONLY),trixie) make demo test

book: ## the handbook as a site that needs no network: target/book/index.html
	docs/book

docs: book ## the handbook, and the source's documentation beside it: target/doc/index.html
	cargo doc --locked --workspace --no-deps --document-private-items
	cp docs/crates.html "$${CARGO_TARGET_DIR:-target}/doc/index.html"

clean: ## forget what was built
	cargo clean
