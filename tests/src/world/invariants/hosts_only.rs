//! The acquisition server knows no destinations, only the push servers that it must feed (design §2.4). The types see
//! to that; what is left is that the addresses in a plan are those of hosts.

use std::net::SocketAddr;

use protocols::p1_registration::FeedPlan;

/// Name of the rule.
pub const RULE: &str = "the acquisition server knows no destinations";

/// Checks a plan on its way to an acquisition server against the P3 addresses of all hosts.
pub fn check(plan: &FeedPlan, hosts: &[SocketAddr]) -> Result<(), String> {
    for target in plan.channels.iter().flat_map(|channel| &channel.feeds) {
        if !hosts.contains(&target.address) {
            return Err(format!("the plan names {}, which is no push server host", target.address));
        }
    }
    Ok(())
}
