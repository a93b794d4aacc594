//! Workers that anybody who has the ticket starts, at any time.

use super::{Manager, Plan, Wanted};

pub(super) struct Elastic;

impl Manager for Elastic {
    fn name(&self) -> &'static str {
        "elastic"
    }

    fn options(&self) -> Option<&'static [(&'static str, &'static str)]> {
        Some(&[])
    }

    fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan, String> {
        match wanted.workers {
            None => Ok(Plan::Open),
            Some(_) => Err("workers come by themselves: no number is wanted".to_owned()),
        }
    }
}
