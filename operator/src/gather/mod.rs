//! Reads objects into one value; decides nothing.
