//! Receives snapshots, verifies them, keeps the last good of every object, swaps.
