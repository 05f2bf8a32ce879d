# Entry points for people and CI; `make` alone lists them. Cargo and the scripts in scripts/ do the work.

# Where rustup puts cargo, as in the scripts.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
PREFIX ?= /usr
DESTDIR ?=

.PHONY: help demo test vm fuzz miri soak bench bench-kcm bench-helper bench-contexts bench-tokens bench-rpc bench-vm build install uninstall lint deny header reproducible clean

help:
	@echo 'make demo       the whole path on this machine, with a KDC and a server of its own (as root)'
	@echo 'make test       all tests; installs the Debian packages they need (as root; WORDS="..." chooses stages or tests)'
	@echo 'make vm         those of Lustre keys alone, in QEMU (as root; WORDS="..." chooses)'
	@echo 'make fuzz       the decoders with random input, SECONDS=60 for each target (as root; WORDS="..." chooses, JOBS=N at a time)'
	@echo 'make miri       unit tests of the safe core in an interpreter that finds undefined behaviour (WORDS="..." chooses)'
	@echo 'make soak       requests of all kinds for a long time, SECONDS=300, and floods; nothing may grow (as root)'
	@echo 'make bench      what the upcall costs a requester (as root)'
	@echo 'make bench-kcm  what requests of KCM cost, beside SSSD (as root)'
	@echo 'make bench-helper  what it costs that an operator is not root (as root)'
	@echo 'make bench-contexts  what a program pays for looking up a context that it has (as root)'
	@echo 'make bench-tokens  what signing and sealing cost, beside MIT Kerberos'
	@echo 'make bench-rpc  what protection costs a program that lists a large directory of an NFS server (as root)'
	@echo 'make bench-vm   the same for Lustre, in QEMU (as root; LGSS_REF=PATH names another lgss_keyring to compare with)'
	@echo 'make build      release programs in target/dist, lgss_keyring static'
	@echo 'make install    programs, manual pages, rule and settings (DESTDIR, PREFIX=/usr)'
	@echo 'make uninstall  removes what was installed and has not been changed since'
	@echo 'make lint       format, clippy, shellcheck, manual pages'
	@echo 'make deny       licences, sources and duplicates of the packages we depend on (installs cargo-deny)'
	@echo 'make header     liblgss/include/lgss.h from its sources (installs cbindgen)'
	@echo 'make reproducible  builds lgss_keyring here and in another directory: one hash'
	@echo 'make clean      removes target/'

demo:
	@scripts/setup
	@scripts/build --examples
	@scripts/demo

test:
	scripts/setup
	scripts/test $(WORDS)

vm:
	scripts/setup
	scripts/build
	tests/vm/run $(WORDS)

fuzz:
	scripts/setup --fuzz
	scripts/fuzz --seconds '$(or $(SECONDS),60)' --jobs '$(or $(JOBS),$(shell nproc))' $(WORDS)

miri:
	scripts/setup --miri
	scripts/miri $(WORDS)

soak:
	scripts/setup
	scripts/build
	LGSS_SOAK_SECONDS='$(or $(SECONDS),300)' LGSS_KEYRING_BIN='$(CURDIR)/target/dist/lgss_keyring' cargo test --features test-programs --test soak

bench:
	scripts/setup
	scripts/build
	LGSS_KEYRING_BIN='$(CURDIR)/target/dist/lgss_keyring' cargo bench --features test-programs --bench upcall

bench-kcm:
	scripts/setup
	scripts/build
	LGSS_AGENT_BIN='$(CURDIR)/target/dist/lgss_agent' cargo bench --features test-programs --bench kcm

bench-helper:
	scripts/setup
	scripts/build
	LGSS_BIN='$(CURDIR)/target/dist/lgss' LGSS_HELPER_BIN='$(CURDIR)/target/dist/lgss_helper' \
	    cargo bench --profile dev --features test-programs --bench helper

bench-rpc:
	scripts/setup
	scripts/build
	LGSS_KEYRING_BIN='$(CURDIR)/target/dist/lgss_keyring' cargo bench --features test-programs --bench rpc

bench-tokens:
	scripts/setup
	cargo bench --features test-programs --bench tokens

bench-contexts:
	scripts/setup
	scripts/build
	LGSS_KEYRING_BIN='$(CURDIR)/target/dist/lgss_keyring' cargo bench --features test-programs --bench contexts

bench-vm:
	scripts/setup
	scripts/build
	LGSS_REF='$(LGSS_REF)' LGSS_BENCH_ROUNDS='$(or $(LGSS_BENCH_ROUNDS),100)' LGSS_VM_CPUS=2 LGSS_VM_LIMIT=3600 tests/vm/run bench

build:
	scripts/build

install: build
	DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install

uninstall:
	DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/uninstall

lint:
	scripts/lint

deny:
	scripts/setup --deny
	cargo deny --locked check --allow license-exception-not-encountered bans licenses sources
	cargo deny --locked --config deny.toml --manifest-path fuzz/Cargo.toml check licenses sources
	cargo deny --locked --config deny.toml --manifest-path liblgss/Cargo.toml check --allow license-exception-not-encountered licenses sources

header:
	scripts/setup --header
	scripts/header

reproducible:
	scripts/check-reproducible

clean:
	cargo clean
