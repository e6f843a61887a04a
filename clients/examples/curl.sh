#!/usr/bin/env bash
# The gateway with curl alone.
#
# bash curl.sh PHOTO.jpg [MODEL] [http://HOST:PORT] [ANNOTATED.jpg]
set -euo pipefail
photo=${1:?usage: curl.sh PHOTO.jpg [MODEL] [http://HOST:PORT] [ANNOTATED.jpg]}
model=${2:-balloon}
gateway=${3:-http://localhost:8080}
annotated=${4:-annotated.jpg}

ask() { # of an error too the answer is shown, and the exit status tells
  curl --silent --show-error --fail-with-body --max-time 30 "$@" && echo
}

echo "# The photo as body, the findings as JSON"
ask --data-binary @"$photo" -H 'content-type: image/jpeg' \
  "$gateway/v1/models/$model/predict?score_threshold=0.4"

echo "# The same as a picture with the findings drawn on it: $annotated"
ask --data-binary @"$photo" -H 'content-type: image/jpeg' -H 'accept: image/jpeg' \
  "$gateway/v1/models/$model/predict?score_threshold=0.4" --output "$annotated"

echo "# Open Inference Protocol, all of it JSON: the photo in base64"
{
  printf '{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], '
  printf '"parameters": {"content_encoding": "base64"}, "data": ["'
  base64 <"$photo" | tr -d '\n'
  printf '"]}], "parameters": {"score_threshold": 0.4}}'
} | ask --data-binary @- -H 'content-type: application/json' "$gateway/v2/models/$model/infer"

echo "# Open Inference Protocol, binary extension: JSON, then the photo's length (4 bytes, little-endian) and the photo"
size=$(($(wc -c <"$photo")))
header='{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1],
  "parameters": {"binary_data_size": '$((4 + size))'}}], "parameters": {"score_threshold": 0.4}}'
length=$(printf '\\x%02x' $((size & 255)) $((size >> 8 & 255)) $((size >> 16 & 255)) $((size >> 24 & 255)))
{
  printf '%s' "$header"
  printf '%b' "$length"
  cat "$photo"
} | ask --data-binary @- -H 'content-type: application/octet-stream' \
  -H "inference-header-content-length: ${#header}" "$gateway/v2/models/$model/infer"

echo "# An error says what was expected, what came and what to do; its HTTP status goes with its kind"
printf 'not a photo' | curl --silent --show-error --max-time 30 --write-out '\n%{http_code}\n' --data-binary @- \
  -H 'content-type: image/jpeg' "$gateway/v1/models/$model/predict"
