//! Gathered objects to sub-snapshots and problems; pure.
