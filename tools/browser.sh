#!/usr/bin/env bash
# Installs chromium for tests/report/test_report.py, as root on Debian and only where it is missing.
# Elsewhere, or without a network, the tests that need a browser are skipped and say so.
set -euo pipefail
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium chromium-driver >/dev/null && exit 0
fi
echo "test: no chromium and chromedriver: the tests that open the report in a browser are skipped" >&2
