#!/bin/sh
# A worker in shell with curl: claims jobs of the tool "text.upper" one by one and ends them.
# JOBSITE_URL=http://127.0.0.1:8000 JOBSITE_TOKEN=jst_... sh examples/worker.sh
set -u
api="${JOBSITE_URL:-http://127.0.0.1:8000}/api/v1"

post() { # path body
  curl --silent --show-error --max-time 40 --request POST "$api$1" --data "$2" \
    --header "Authorization: Bearer $JOBSITE_TOKEN" --header "Content-Type: application/json"
}

field() { # name: the value of the first text field of that name, as it stands in the JSON
  sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

while true; do
  claimed=$(post "/claims?wait=5" "{\"tools\": [\"text.upper\"], \"leaseMs\": 30000, \"worker\": \"sh-$$\"}") || { sleep 1; continue; }
  attempt=$(printf '%s' "$claimed" | field attempt)
  [ -n "$attempt" ] || continue
  post "/attempts/$attempt/progress" '{"progress": 50, "message": "half way"}' >/dev/null
  # A text with quotation marks or backslashes would need a JSON parser: give such a job up for good.
  if printf '%s' "$claimed" | grep -q '\\'; then
    post "/attempts/$attempt/failure" '{"category": "permanent", "message": "only plain text"}' >/dev/null
  else
    text=$(printf '%s' "$claimed" | field text | tr '[:lower:]' '[:upper:]')
    post "/attempts/$attempt/result" "{\"structuredContent\": {\"text\": \"$text\"}}" >/dev/null
  fi
done
