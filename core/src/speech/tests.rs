mod detectors;
mod listener;
mod properties;
mod sound;
