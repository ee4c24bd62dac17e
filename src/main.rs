//! The `bayeux` program.

fn main() {}
