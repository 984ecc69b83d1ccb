//! Starts the database server.
fn main() {}
