#!/usr/bin/env bash
# piper-phonemize 1.1.0 writes a vowel of German as two question marks, among phonemes where ? is a question.
#
# The guess was that its espeak-ng gives the same phonemes as the one in piper-tts, which descends from it, and that a mark
# among them is one of the text. Seen: the vowel before the r of "kurz", "Burg", "durch" and "wurde" (in IPA ʊɐ, as
# piper-tts 1.8.0 has it) is "??"; the Danish stød of "tredive" is "?" in both. Whoever cuts texts at marks among phonemes,
# or trains on them and speaks with the other package, meets it. Needs Python 3.11, for which there is a wheel.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/old"
python3.11 -m venv "$folder/new"
"$folder/old/bin/pip" install --quiet piper-phonemize==1.1.0
"$folder/new/bin/pip" install --quiet piper-tts==1.8.0
cat > "$folder/say.py" <<'PYTHON'
import unicodedata

try:
    from piper_phonemize import phonemize_espeak

    def phonemes(text, voice):
        return "".join("".join(sentence) for sentence in phonemize_espeak(text, voice))
except ImportError:
    from piper.phonemize_espeak import EspeakPhonemizer

    engine = EspeakPhonemizer()

    def phonemes(text, voice):
        return "".join("".join(sentence) for sentence in engine.phonemize(voice, text))


said = [phonemes(word, "de") for word in ("kurz", "Burg", "durch", "wurde")] + [phonemes("tredive", "da")]
print(unicodedata.normalize("NFC", " ".join(said)))
PYTHON
old=$("$folder/old/bin/python" "$folder/say.py")
new=$("$folder/new/bin/python" "$folder/say.py")
echo "piper-phonemize: $old"
echo "piper-tts: $new"
[ "$old" = "kˈ??ts bˈ??k dˈ??ç vˌ??də tʁˈ?aðʋə" ]
[ "$new" = "kˈʊɐts bˈʊɐk dˈʊɐç vˌʊɐdə tʁˈ?aðʋə" ]
echo "piper-phonemize 1.1.0 writes the vowel of German \"kurz\" as question marks"
