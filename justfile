# Everything that is done with this repository. `./dev` gets `just` when it is missing.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

tools := env("XDG_CACHE_HOME", env("HOME") / ".cache") / "postern/tools"
cargo_deny_version := "0.20.2"
cargo_llvm_cov_version := "0.6.21"

# Lists the recipes.
default:
    @just --list --unsorted

# Everything that must hold: format, lints, directions, licences, every test, the demo's story. What CI runs.
test: fmt-check lint fuzz-check check-each deny charts test-all (demo "--once") audit-if-reachable
    @echo "test: everything that ran holds"

# The tests alone; those that start the real binary find it built. Pods take their time: without a choice of tests those on
# kind run beside the others, and what they said is told after them.
test-all *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --locked -p cli
    if [ $# != 0 ]; then exec tests/servers/with-docker cargo test --locked --workspace "$@"; fi
    cargo test --quiet --locked --workspace --no-run
    # What is built once is built before tests run beside it: a server that is starved answers nobody in time.
    tests/servers/with-docker bash -ec '[ -n "${POSTERN_NO_DOCKER:-}" ] || { cd tests/servers; kind/node-image; images/build; } >/dev/null'
    # A group of its own, so that all of it can be ended when the others are interrupted.
    setsid tests/servers/with-docker cargo test --locked -p tests --test cluster >target/cluster.log 2>&1 &
    cluster=$! failed=0
    trap 'kill -- "-$cluster" 2>/dev/null || true' EXIT
    POSTERN_NO_DOCKER="they run beside these" cargo test --locked --workspace --no-fail-fast || failed=$?
    wait "$cluster" || failed=$?
    cat target/cluster.log
    exit "$failed"

# The tests on kind, with a Docker engine that answers or one of its own: `./dev cluster`, or `./dev cluster scaled` for one.
cluster *ARGS:
    cargo build --locked -p cli
    tests/servers/with-docker cargo test --locked -p tests --test cluster -- "$@"

# On kind: from an earlier revision's chart and image to this one's, back and again, under calls and events:
# `./dev upgrade HEAD~20`.
upgrade REVISION:
    cargo build --locked -p cli
    POSTERN_EARLIER="$(git rev-parse --verify {{quote(REVISION)}}^{commit})" \
      tests/servers/with-docker cargo test --locked -p tests --test cluster -- an_earlier_build_is_upgraded

# Two gateways, two delivers, two shards, RabbitMQ and Redis: kills them at random, and counts:
# `./dev chaos --kills 200 --seed 7`, or only some kinds of it: `--kinds broker-hangs,redis`. `--help` lists them.
chaos *ARGS:
    cargo build --locked -p cli
    cargo run --locked -p tests --bin chaos -- "$@"

# The same installation under steady load while something is away, and how long answers took:
# `./dev outage --outage broker --seconds 120 --rate 500`.
outage *ARGS:
    cargo build --release --locked -p cli
    cargo run --release --locked -p tests --bin outage -- "$@"

# Attacks the binary from outside (memory, slow peers, HTTP/2, tunnels, lock-out, paths, smuggling, splitting, last good) and
# prints for each attack whether the promise held: `./dev attack`, `./dev attack --short`, or `./dev attack memory`.
attack *ARGS:
    cargo build --locked -p cli
    cargo run --locked -p tests --bin attack -- "$@"

# Formats the code.
fmt:
    cargo fmt --all

# Fails when the code is not formatted.
fmt-check:
    cargo fmt --all --check

# Clippy, with every warning an error.
lint:
    cargo clippy --quiet --locked --workspace --all-targets -- -D warnings

# Builds each crate alone and proves who may depend on whom.
check-each:
    .ci/check-each

# Bans, licences and sources of every dependency. Needs no network once the crates are here.
deny: _cargo-deny
    @PATH="{{tools}}/cargo-deny-{{cargo_deny_version}}/bin:$PATH" cargo deny --locked check bans licenses sources

# The charts in the shapes of charts/postern/ci: linted, rendered, and nothing critical in what that gives. CPU limits are left
# out on purpose (a gateway that is throttled answers late), and images with a version need no pull each time.
charts:
    #!/usr/bin/env bash
    set -euo pipefail
    programs=$(tests/servers/fetch-kind)
    for shape in charts/postern/ci/*-values.yaml; do
      "$programs/helm" lint --quiet --strict charts/postern --values "$shape"
      "$programs/helm" template postern charts/postern --namespace postern-system --kube-version 1.36 --values "$shape" >target/chart.yaml
      # RabbitMQ and Redis of the demo write where they please.
      [ "$shape" = charts/postern/ci/demo-values.yaml ] || "$programs/kube-score" score target/chart.yaml --output-format ci \
        --ignore-container-cpu-limit --ignore-test container-image-pull-policy | (! grep CRITICAL)
    done
    "$programs/helm" lint --quiet --strict charts/postern-crds
    echo "charts: nothing critical"

# Writes crds/ from the specs in policy/. The tests fail when they differ.
crds:
    cargo run --quiet --locked -p cli -- crds --out crds

# Known vulnerabilities as part of `test`. Where the advisory database cannot be fetched it says that nothing was audited;
# with POSTERN_AUDIT=required, as on a build server that can reach it, that is a failure.
audit-if-reachable: _cargo-deny
    @export PATH="{{tools}}/cargo-deny-{{cargo_deny_version}}/bin:$PATH"; \
    if timeout 120 cargo deny --locked fetch db >/dev/null 2>&1; then \
      cargo deny --locked check advisories; \
    else \
      echo "audit: NOT RUN: the advisory database could not be fetched, so no dependency was checked for advisories" >&2; \
      [ "${POSTERN_AUDIT:-}" != required ]; \
    fi

# Known vulnerabilities; fetches the advisory database, and fails when it cannot.
audit: _cargo-deny
    @PATH="{{tools}}/cargo-deny-{{cargo_deny_version}}/bin:$PATH" cargo deny --locked check advisories

# Builds cargo-llvm-cov once, into the cache, and adds the compiler's own tools for it.
_cargo-llvm-cov:
    @rustup component add llvm-tools
    @[ -x "{{tools}}/cargo-llvm-cov-{{cargo_llvm_cov_version}}/bin/cargo-llvm-cov" ] \
      || { echo "coverage: building cargo-llvm-cov {{cargo_llvm_cov_version}} once"; \
           cargo install --quiet --locked --debug --root "{{tools}}/cargo-llvm-cov-{{cargo_llvm_cov_version}}" "cargo-llvm-cov@{{cargo_llvm_cov_version}}"; }

# Builds cargo-deny once, into the cache, unless the wanted one is on PATH.
_cargo-deny:
    @[ "$(cargo deny --version 2>/dev/null)" = "cargo-deny {{cargo_deny_version}}" ] \
      || [ -x "{{tools}}/cargo-deny-{{cargo_deny_version}}/bin/cargo-deny" ] \
      || { echo "deny: building cargo-deny {{cargo_deny_version}} once (4 minutes on 2 cores)"; \
           cargo install --quiet --locked --root "{{tools}}/cargo-deny-{{cargo_deny_version}}" "cargo-deny@{{cargo_deny_version}}"; }

# The side-by-side benchmarks; about 12 minutes. `./dev bench --rounds 1 --seconds 2` for a look.
bench *ARGS:
    cargo build --quiet --release --locked -p cli -p bench
    taskset -c "${LOAD_CORE:-1}" target/release/bench run --peers "$(bench/fetch-peers)" "$@"

# Events through a real RabbitMQ and Redis: accepted, delivered, kept, drained. Everything on two cores.
bench-events *ARGS:
    cargo build --quiet --release --locked -p cli -p bench
    cargo build --quiet --locked -p tests --bin servers
    target/debug/servers target/bench-events target/release/bench events --settings target/bench-events "$@"

# An edit until it shows, with many routes on a real API server, a real operator and dataplane: `./dev bench-edits --routes 100000`.
bench-edits *ARGS:
    cargo build --quiet --release --locked -p cli
    cargo run --quiet --release --locked -p tests --bin edits -- "$@"

# A gateway on the examples whose events go through a real RabbitMQ and Redis; Ctrl-C ends all three.
with-broker:
    cargo build --locked -p cli
    cargo build --locked -p tests --bin servers
    @echo "with-broker: when it serves, send it something from another terminal:"
    @echo "  target/debug/postern send whatsapp http://127.0.0.1:8080/webhooks/whatsapp --host hooks.example.com \\"
    @echo "    --secret demo-app-secret-of-meta --to 106540352242922"
    @echo "  curl -s http://127.0.0.1:9901/metrics | grep postern_events_total"
    target/debug/servers target/with-broker target/debug/postern run --config examples --data target/with-broker/data \
      --settings target/with-broker/settings.yaml

# Builds the binary and tells a story with it: `./dev demo`, or `./dev demo --once` to end after it.
demo *ARGS:
    @echo "demo: building postern (a first build takes some minutes; later ones seconds)"
    cargo build --locked -p cli
    target/debug/postern demo "$@"

# It builds everything once more, instrumented, in target/coverage; the compiler's own tools are added to the toolchain.
# Which lines of the event path and of WebhookSources the tests reach; others by name: `./dev coverage dataplane/src/http`.
coverage *PARTS: _cargo-llvm-cov
    #!/usr/bin/env bash
    set -euo pipefail
    export PATH="{{tools}}/cargo-llvm-cov-{{cargo_llvm_cov_version}}/bin:$PATH"
    export CARGO_TARGET_DIR="$PWD/target/coverage" CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
    source <(cargo llvm-cov show-env --export-prefix 2>/dev/null)
    cargo llvm-cov clean --workspace --profraw-only
    cargo build --locked -p cli
    POSTERN_NO_DOCKER="pods run what is not instrumented" cargo test --locked -p policy -p dataplane -p cli -p tests
    parts=$(tr ' ' '|' <<<"${*:-dataplane/src/event/ policy/src/webhook_source/}")
    cargo llvm-cov report --lcov | awk -F: -v parts="$parts" -v root="$PWD/" '
      /^SF:/ { file = $2; sub(root, "", file) }
      /^LF:/ { count = $2 }
      /^LH:/ { covered = $2 }
      /^end_of_record/ && file ~ parts && file !~ /(tests?|fuzz)\.rs$/ {
        all += count; reached += covered; printf "%5.1f %%  %4d not reached  %s\n", 100 * covered / count, count - covered, file
      }
      END { printf "%5.1f %%  together, %d of %d lines\n", 100 * reached / all, reached, all }'

# Fuzzes one target for a while, with a nightly compiler: `./dev fuzz request_head 60`. The same rules run as
# property tests in `./dev test`.
fuzz TARGET SECONDS="60":
    cd fuzz && cargo +nightly fuzz run {{TARGET}} -- -max_total_time={{SECONDS}}

# The fuzz targets compile; they are a workspace of their own.
fuzz-check:
    cd fuzz && cargo check --quiet --locked --target-dir ../target

# What the build server runs.
ci: test
