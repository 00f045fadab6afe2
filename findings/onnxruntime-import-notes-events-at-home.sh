#!/usr/bin/env bash
# onnxruntime 1.32.0 from PyPI, Linux: `import onnxruntime` alone makes an identifier of the machine and a database of
# events in the home folder; ORT_DISABLE_TELEMETRY=1 before the import makes neither.
#
# The guess was that telemetry is a matter of the builds for Windows, where it was for years, that
# onnxruntime.disable_telemetry_events() turns it off, and that a library which only computes writes nothing at its import.
# Seen: .cache/Microsoft/DeveloperTools/.onnxruntime gets `deviceid`, a UUID, and `onnxruntime.db`, SQLite, with one event,
# ProcessInfo; disable_telemetry_events() comes too late, since it needs the import; the variable works. Whether anything
# was sent was not looked at. Who ships onnxruntime inside an application that promises to work alone sets the variable.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0
cat > "$folder/look.py" <<'PYTHON'
import sqlite3
import sys
import uuid
from pathlib import Path

home = Path(sys.argv[1])
files = sorted(path for path in home.rglob("*") if path.is_file())
print(" ".join(path.name for path in files) or "nothing")
for path in files:
    if path.name == "deviceid":
        uuid.UUID(path.read_text())
    if path.suffix == ".db":
        (number,) = sqlite3.connect(path).execute("select count(*) from events").fetchone()
        (event,) = sqlite3.connect(path).execute("select payload from events").fetchone()
        print(number, "event", "ProcessInfo" if b"ProcessInfo" in event else "of another name")
PYTHON
left_by() { # HOME [VARIABLE=VALUE]: what an import leaves in an empty home folder
  mkdir "$folder/$1"
  env -u XDG_CACHE_HOME HOME="$folder/$1" "${@:3}" "$folder/venv/bin/python" -c "import onnxruntime; $2"
  "$folder/venv/bin/python" "$folder/look.py" "$folder/$1"
}

alone=$(left_by alone "")
called=$(left_by called "onnxruntime.disable_telemetry_events()")
disabled=$(left_by disabled "" ORT_DISABLE_TELEMETRY=1)
printf 'import onnxruntime:\n%s\nthen disable_telemetry_events():\n%s\nwith ORT_DISABLE_TELEMETRY=1:\n%s\n' \
  "$alone" "$called" "$disabled"
[ "$alone" = "deviceid onnxruntime.db"$'\n'"1 event ProcessInfo" ]
[ "${called%%$'\n'*}" = "deviceid onnxruntime.db" ]
[ "$disabled" = nothing ]
echo "onnxruntime 1.32.0 writes an identifier and events at its import"
