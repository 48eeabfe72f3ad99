//! Load generators and origins.

fn main() {}
