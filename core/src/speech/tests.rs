mod detectors;
mod listener;
mod sound;
