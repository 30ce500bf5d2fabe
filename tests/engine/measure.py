"""The word error rate and the CPU time of the recogniser on recorded speech, as it is and after a telephone line.

    measure.py DIRECTORY

DIRECTORY holds WAV files of 16 kHz and a `transcription`, a line each: `<s> the words </s> (name of the file)`.
"""

import pathlib
import re
import sys
import time
import wave

import numpy as np
from whisper import RATE, Recogniser

TELEPHONE_RATE = 8_000


def read(path):
    with wave.open(str(path)) as opened:
        return np.frombuffer(opened.readframes(opened.getnframes()), dtype="<i2") / 32_768


def telephone(samples):
    """8,000 samples a second, up to 3,400 Hz, through mu-law and back."""
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[frequencies > 3_400] = 0
    count = len(samples) * TELEPHONE_RATE // RATE
    narrow = np.fft.irfft(spectrum[: count // 2 + 1], count) * (count / len(samples))
    magnitude = np.minimum(np.abs(narrow) * 32_768, 32_635) + 132
    exponent = np.floor(np.log2(magnitude)) - 7
    mantissa = np.floor(magnitude / 2 ** (exponent + 3)) - 16
    return np.sign(narrow) * ((2 * mantissa + 33) * 2 ** (exponent + 2) - 132) / 32_768


def words(text):
    return re.sub("[^a-z' ]", " ", text.lower().replace("mr.", "mister")).split()


def errors(spoken, heard):
    """The fewest words to be replaced, added or left out."""
    row = list(range(len(heard) + 1))
    for place, word in enumerate(spoken, 1):
        diagonal, row[0] = row[0], place
        for other, candidate in enumerate(heard, 1):
            diagonal, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, diagonal + (word != candidate))
    return row[-1]


def main(directory):
    lines = (directory / "transcription").read_text().splitlines()
    clips = [re.fullmatch(r"<s> (.*) </s> \((.*)\)", line).groups() for line in lines]
    recogniser = Recogniser()
    for name, rate, path in (("as recorded", RATE, lambda samples: samples), ("telephone", TELEPHONE_RATE, telephone)):
        wrong = spoken = seconds = 0
        before = time.process_time()
        for text, file in clips:
            samples = path(read(directory / f"{file}.wav"))
            heard = recogniser.text(samples, rate)
            wrong, spoken = wrong + errors(words(text), words(heard)), spoken + len(words(text))
            seconds += len(samples) / rate
            print(f"  {heard}")
        used = time.process_time() - before
        print(f"{name}: {wrong} of {spoken} words wrong ({wrong / spoken:.1%}); {used:.1f} s of CPU for {seconds:.1f} s")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
