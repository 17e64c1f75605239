# The front door. `make run` and `make test` work on a fresh Debian machine: they install what is missing first.
JOBS ?= $(shell nproc)

all: build-deps build/build.ninja
	@ninja -C build -j $(JOBS)

# build/ is the hardened build that people run: optimized, with debug information, without tests.
build/build.ninja:
	@meson setup build --buildtype=debugoptimized -Dtests=false

run: run-deps all
	@tools/run-demo

test: test-deps
	@tools/test

check: test-deps
	@tools/check

bench: all
	@tests/bench/run $(BENCH)

install: all
	@meson install -C build --no-rebuild

clean:
	@rm -rf build build-test build-tsan build-fuzz build-tidy

# At once when nothing is missing; apt runs only when something is.
build-deps:
	@tools/install-deps --build
run-deps:
	@tools/install-deps --run
test-deps:
	@tools/install-deps --test

.NOTPARALLEL:
.PHONY: all run test check bench install clean build-deps run-deps test-deps
