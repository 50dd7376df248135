# The commands that a person and CI type. Anything longer than a few lines lives in scripts/.
.DEFAULT_GOAL := help
.PHONY: run test check count fuzz bench dist web help

run: ## build what is needed and start the demo: the gateway in front of invented data
	@scripts/web.sh || echo "make run: going on without GraphiQL's assets"
	cargo run --locked --release -- demo

test: ## fetch what the tests need and run all of them (WEIR_TEST_REQUIRE=all: leaving one out is a failure)
	@scripts/test.sh

check: ## format, lints, docs, dependencies, schema snapshot
	@scripts/check.sh

count: ## count the instructions of the hot paths and compare with what is committed (needs valgrind)
	@scripts/count.sh

fuzz: ## fuzz what comes from outside, WEIR_FUZZ_SECONDS (60) for each target (needs cargo-fuzz)
	@scripts/fuzz.sh

bench: ## measure weir under load beside two yardsticks, and write the result into the documents (needs wrk)
	@scripts/bench.sh

dist: ## make what is handed out, in dist/: a static Linux binary in an archive, its SBOM and checksums
	@scripts/dist.sh

web: ## build the web assets, if their sources are newer
	@scripts/web.sh

help: ## this list
	@sed -n 's/^\([a-z]*\): ## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-6s %s\n' "$$name" "$$what"; done
