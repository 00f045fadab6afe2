# SPDX-License-Identifier: Apache-2.0
"""Abbreviations, units, dates and ranges of languages that espeak-ng reads."""

import pytest

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.explain import inspect_text, render
from zipvoice.text.g2p import espeak
from zipvoice.text.g2p.short_forms import in_full
from zipvoice.text.tokenizers import build_tokenizer

# Written, and what a person reads; the two are the same where nothing is to be changed.
ROWS = {
    "de": """
    Er kommt am 3.10.2024 aus Bonn. | Er kommt am 3. Oktober 2024 aus Bonn.
    1. 5. 1999 und 2024-12-24 | 1. Mai 1999 und 24. Dezember 2024
    Er kommt am 3.10. | Er kommt am 3. Oktober.
    vom 3.10. bis 4.11. dort | vom 3. Oktober bis 4. November dort
    3.13.2024, 1.2.3, 32.1.2024, 3.10-2024 | 3.13.2024, 1.2.3, 32.1.2024, 3.10-2024
    z.B. heute, d. h. nie, Z. B. Hunde | zum Beispiel heute, das heißt nie, zum Beispiel Hunde
    er kam u. a. | er kam unter anderem.
    Äpfel usw. Er aß usw. und ging | Äpfel und so weiter. Er aß und so weiter und ging
    ca. 3 Mrd. Euro, 3 Mio. | circa 3 Milliarden Euro, 3 Millionen.
    caca. XYca. a.ca. | caca. XYca. a.ca.
    Nr. 5, S. 10-12, Bd. IV, S. Fischer | Nummer 5, Seite 10 bis 12, Band IV, S. Fischer
    St. Pauli, der St. der | Sankt Pauli, der St. der
    Hauptstr. 5, Goethe-Str. 7, in der Hauptstr. | Hauptstraße 5, Goethe-straße 7, in der Hauptstraße.
    1 t, 2 t, 1,1 t, 21 t | 1 Tonne, 2 Tonnen, 1,1 Tonnen, 21 Tonnen
    50 km/h, 20m² und 5 m. | 50 Kilometer pro Stunde, 20 Quadratmeter und 5 Meter.
    5 kmh, 5 m/x, 5 m-Brett, km 5, 5 l'x | 5 kmh, 5 m/x, 5 m-Brett, km 5, 5 l'x
    5 ㎏, 20 ㎡ | 5 Kilogramm, 20 Quadratmeter
    5–10 Tage, 1999-2004 war, 5,5-7 % | 5 bis 10 Tage, 1999 bis 2004 war, 5,5 bis 7 %
    3-3 Tore, am 3.10.24, 5 m.ü.M. | 3-3 Tore, am 3.10.24, 5 m.ü.M.
    3-2 gewonnen, 555-1234, 030-123 Büro, 1-2-3 los | 3-2 gewonnen, 555-1234, 030-123 Büro, 1-2-3 los
    """,
    "fr": """
    M. Dupont, MM. Dupont, M. et Mme Dupont | monsieur Dupont, messieurs Dupont, monsieur et madame Dupont
    Jean M. Dupont, un m. Dupont | Jean M. Dupont, un m. Dupont
    le 01/10/2024, le 2-11-1999 | le 1er octobre 2024, le 2 novembre 1999
    p. ex. lui, c.-à-d. moi, env. dix | par exemple lui, c'est-à-dire moi, environ dix
    av. J.-C., des poires, etc. Il part | avant Jésus-Christ, des poires, et cetera. Il part
    p. 5, vol. II, chap. trois | page 5, volume II, chap. trois
    5 min, 1 min, 2 l'eau, 5-10 jours | 5 minutes, 1 minute, 2 l'eau, 5 à 10 jours
    Dr Martin, St Paul, St-Paul | docteur Martin, saint Paul, St-Paul
    3 M€, 5 Go | 3 millions d'euros, 5 gigaoctets
    """,
    "es": """
    el Sr. López, la Sra. Ruiz, D. Juan | el señor López, la señora Ruiz, don Juan
    John D. Rockefeller | John D. Rockefeller
    3/10/2024 | 3 de octubre de 2024
    p. ej. él, Ud. sabe | por ejemplo él, usted sabe
    en EE. UU. hay, los EEUU, en EE.UU. | en Estados Unidos hay, los Estados Unidos, en Estados Unidos.
    en los EEUU | en los Estados Unidos
    pág. 5, n.º 7, 10-12 h | página 5, número 7, 10 a 12 horas
    1 km, 5 km, 5 m² | 1 kilómetro, 5 kilómetros, 5 metros cuadrados
    """,
    "it": """
    sig. Rossi, sig.ra Bianchi, Dott. Verdi, S. Marco | signor Rossi, signora Bianchi, dottor Verdi, san Marco
    1/5/2024, 2/5/2024 | primo maggio 2024, 2 maggio 2024
    ad es. lui, pane, ecc. Poi | ad esempio lui, pane, eccetera. Poi
    ad es. lui | ad esempio lui
    pag. 5, 1 kg, 2 kg, 5-10 giorni | pagina 5, 1 chilogrammo, 2 chilogrammi, 5 a 10 giorni
    """,
    "pt-br": """
    Sr. Silva, Dra. Costa, Av. Brasil | senhor Silva, doutora Costa, avenida Brasil
    em Santos Av. Brasil | em Santos avenida Brasil
    7/9/1822 | 7 de setembro de 1822
    p. ex. ele, nº 5, pág. 7 | por exemplo ele, número 5, página 7
    1 h, 2 h, 80 km/h | 1 hora, 2 horas, 80 quilômetros por hora
    """,
    "nl": """
    dhr. Jansen, mevr. Bakker | de heer Jansen, mevrouw Bakker
    3-10-2024 | 3 oktober 2024
    d.w.z. hij, o.a. zij, appels enz. Hij | dat wil zeggen hij, onder andere zij, appels enzovoort. Hij
    blz. 5, om 10 u, 5-10 dagen | bladzijde 5, om 10 uur, 5 tot 10 dagen
    """,
    "sv": "5 km, 3/10/2024, S. 5 | 5 km, 3/10/2024, S. 5",
}


@pytest.mark.parametrize("language", ROWS)
def test_short_forms_are_in_words(language):
    for row in ROWS[language].strip().splitlines():
        written, expected = row.strip().split(" | ")
        assert in_full(written, language) == expected


def test_the_voice_hears_them():
    """Not spelled, and no end of a sentence."""
    assert espeak.speak("Das kostet z. B. 5 km.", "de") == espeak.phonemes("Das kostet zum Beispiel 5 Kilometer.", "de")
    assert espeak.speak("M. Dupont part.", "fr") == espeak.phonemes("monsieur Dupont part.", "fr")
    assert espeak.speak("am 3.10.1999", "de") == espeak.phonemes("am dritten Oktober neunzehnhundert 99", "de")


def test_years_in_german():
    """Hundreds, not thousands; what the voice counts otherwise is left."""
    said = {"1999": "neunzehnhundert 99", "1500": "fünfzehnhundert", "1105,": "elfhundert 5,", "1000": "1000"}
    for written, words in said.items():
        assert espeak.speak(f"im Jahr {written}", "de") == espeak.phonemes(f"im Jahr {words}", "de")
    for count in ("1999,5", "11999", "1999 Euro", "1999 €", "A1999"):
        assert espeak.speak(count, "de") == espeak.phonemes(count, "de")


def test_what_is_said_is_shown():
    tokenizer = build_tokenizer(TokenizerConfig("espeak", "de"))
    inspection = inspect_text("Am 3.10. kamen ca. 5 kg.", tokenizer)
    assert inspection.normalized == "Am dritten Oktober kamen circa 5 Kilogramm."
    assert "de  Am dritten Oktober kamen" in render(inspection)
