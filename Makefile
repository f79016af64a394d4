# The commands of the project; `make help` lists them. All the work is done by the host tool in qemu/.

# May be given before or after `make`; see `make help`.
export E FUNCTION REQUEST CLIENT_ARGS QEMU_OPTIONS QEMU_PATH MODULES_LIST MODULE_SEARCH_PATH TIMEOUT ONLY

# Incremental state and full debug information of the host's builds would take gigabytes below target/.
export CARGO_INCREMENTAL ?= 0
export CARGO_PROFILE_DEV_DEBUG ?= line-tables-only

CARGO ?= cargo
TOOL = $(CARGO) run --quiet --package aerie-qemu --

.PHONY: qemu invoke image list test bench bench-report clean help check-cargo

help:
	@echo 'make qemu    build an entry of modules.list, boot it in QEMU, exit with its verdict'
	@echo 'make invoke  boot a function of your own (FUNCTION=FOLDER), invoke it once (REQUEST=TEXT)'
	@echo 'make image   only build the boot image, print its path'
	@echo 'make list    list the entries of modules.list'
	@echo 'make test    run all tests'
	@echo 'make bench   measure, beside Linux under the same emulator'
	@echo 'make bench-report  the same and more, as one page with plots'
	@echo 'make clean   remove everything that was built'
	@echo
	@echo 'Variables, before or after make:'
	@echo '  E=NAME                    the entry (default: the first one)'
	@echo '  FUNCTION=FOLDER           make invoke: the folder of a function, wherever it is'
	@echo '  REQUEST=TEXT              make invoke: what the function gets (default: nothing)'
	@echo "  CLIENT_ARGS='...'         arguments of the clients, such as '--threads=2 --iterations=100'"
	@echo "  QEMU_OPTIONS='...'        further options of QEMU, such as '-smp 3'"
	@echo '  QEMU_PATH=PROGRAM         another QEMU'
	@echo '  MODULES_LIST=FILE         another description of boot images'
	@echo '  MODULE_SEARCH_PATH=A:B    folders to look for modules and functions in first'
	@echo '  TIMEOUT=SECONDS           silence on the console that counts as a hang (default 60, 0: never)'
	@echo '  ONLY=NAME                 make test: only tests whose name contains this'

qemu: check-cargo
	@$(TOOL) run

invoke image list test bench bench-report: check-cargo
	@$(TOOL) $@

clean: check-cargo
	@$(CARGO) clean

check-cargo:
	@command -v $(CARGO) >/dev/null || \
	{ echo 'cargo is missing: install Rust from https://rustup.rs'; exit 2; }
	@command -v cc >/dev/null || \
	{ echo 'a C compiler is missing: apt-get install -y gcc libc6-dev'; exit 2; }
