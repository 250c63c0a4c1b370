#!/usr/bin/env bash
# Every way of reading an answer, with curl. -N: print what comes when it comes.
#
#   bash curl.sh [http://localhost:8080]
set -euo pipefail
sluice=${1:-http://localhost:8080}

echo "== text: the tokens and nothing else"
curl -sSfN "$sluice/api/stream?format=text" -H 'Content-Type: text/plain' -d 'Say something in Chinese'

echo; echo "== ndjson: a JSON object a line, the last one with finish reason and usage (--json would ask for one document)"
curl -sSfN "$sluice/api/stream?format=ndjson" -H 'Content-Type: application/json' -d '{"prompt": "Say something in Chinese"}'

echo; echo "== sse-text: what EventSource reads; each event's id says where to go on"
curl -sSfN -G "$sluice/api/answer" --data-urlencode 'prompt=Say something in Chinese'

echo; echo "== what useChat sends and reads"
curl -sSfN "$sluice/api/chat" -H 'Content-Type: application/json' -d '{"id": "curl", "trigger": "submit-message",
  "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "Say something in Chinese"}]}]}'

echo; echo "== two questions, the second one about the answer to the first"
curl -sSfN -G "$sluice/api/report" --data-urlencode 'prompt=Say something in Chinese'

echo; echo "== left in the middle, and read on from where it was"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
curl -sN --max-time 0.8 -D "$folder/head" -o "$folder/body" "$sluice/api/stream?format=text" \
  -H 'Content-Type: text/plain' -d 'Say something in Chinese' || true
id=$(tr -d '\r' <"$folder/head" | sed -n 's/^x-stream-id: //Ip')
cat "$folder/body"
echo "[here it was left]"
curl -sSfN "$sluice/api/stream/$id/stream?from=$(stat -c %s "$folder/body")"

echo; echo "== stopped: the model is cancelled, for all that read"
curl -sN --max-time 0.5 "$sluice/api/answer?prompt=table&id=mine" >/dev/null || true
curl -sSf -X DELETE -o /dev/null -w '%{http_code}\n' "$sluice/api/answer/mine"
