# The few commands a person needs; CMake presets (CMakePresets.json) hold the rest.
PRESET ?= release
BUILD := build/$(PRESET)
PITH := $(BUILD)/pith

.PHONY: all packages demo test test-deep bench bench-train install lint clean

all: packages
	@test -f $(BUILD)/build.ninja || cmake --preset $(PRESET) >/dev/null
	@cmake --build $(BUILD)

packages:
	@tools/install-packages

demo: all
	@tools/demo $(PITH)

test: all
	@cd $(BUILD) && ctest --output-on-failure -j2

# What takes longer than a person waits: sanitizers, the pthread backend under ThreadSanitizer, a minimal build, long fuzzing.
test-deep: test
	@tools/test-deep

bench: all
	@tools/bench $(BUILD)

bench-train: all
	@$(BUILD)/bench/train_works

install: all
	@cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

lint:
	@tools/install-packages --lint
	@tools/check-format
	@tools/check-rooms

clean:
	@rm -rf build
