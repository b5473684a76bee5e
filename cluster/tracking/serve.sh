#!/bin/bash
# MLflow with PostgreSQL, basic authentication and artifacts that go through it.
# libpq's variables name the database (PGHOST, PGPORT, PGUSER, PGPASSWORD or PGPASSFILE), which is called mlflow.
set -euo pipefail

: "${PGHOST:?where PostgreSQL is}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?the same random text at every start: openssl rand -hex 32}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?of the user admin, 12 characters or more, read at the first start}"

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export MLFLOW_AUTH_CONFIG_PATH="${MLFLOW_AUTH_CONFIG_PATH:-$here/basic_auth.ini}"
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true

set -m  # a process group of its own, since MLflow does not pass signals on to its workers
mlflow server \
  --app-name basic-auth \
  --backend-store-uri postgresql+psycopg2:///mlflow \
  --serve-artifacts \
  --artifacts-destination "${MLFLOW_ARTIFACTS_DESTINATION:-$PWD/mlartifacts}" \
  --allowed-hosts "${MLFLOW_SERVER_ALLOWED_HOSTS:-localhost:*,127.0.0.1:*}" \
  --host "${MLFLOW_HOST:-127.0.0.1}" \
  --port "${MLFLOW_PORT:-5000}" \
  --workers "${MLFLOW_WORKERS:-4}" &
server=$!
trap 'kill -TERM -- "-$server"' INT TERM
code=0
wait "$server" || code=$?
while kill -0 "$server" 2>/dev/null; do wait "$server" || code=$?; done
exit "$code"
