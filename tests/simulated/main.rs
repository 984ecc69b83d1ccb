//! The simulated world: real machines on a virtual clock. Worth running with --release only.

mod checkers_go_red;
mod control_under_loss;
mod failover;
mod faults;
mod past;
mod playback;
mod recordings;
mod repair;
mod replicas;
mod start_orders;
mod suppression;
mod zap;
