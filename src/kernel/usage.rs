//! `usage_request`: processor and memory of the kernel and its processes, as the extension
//! jupyter-resource-usage shows them. Read from `/proc`.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

/// Ticks of a second in `/proc`: the same on every machine that Linux supports today.
const TICKS: f64 = 100.0;

/// The last measurement; rates are relative to it.
#[derive(Debug, Default)]
pub(super) struct Usage {
    processes: Option<(Instant, u64)>,
    host: Option<HostTicks>,
}

/// Ticks that the host's processors have spent since it started.
#[derive(Debug, Clone, Copy)]
struct HostTicks {
    idle: u64,
    all: u64,
}

impl Usage {
    /// The content of the reply. `processes` are counted together with this one.
    pub(super) fn measure(&mut self, processes: &[u32]) -> Value {
        let pids = || processes.iter().copied().chain([std::process::id()]);
        let mut content = json!({
            "hostname": hostname(),
            "pid": std::process::id(),
            "kernel_cpu": self.processor(pids().filter_map(ticks).sum()),
            "kernel_memory": pids().filter_map(memory).sum::<u64>(),
            "cpu_count": std::thread::available_parallelism().map_or(1, usize::from),
            "host_virtual_memory": host_memory(),
        });
        if let Some(percent) = self.host_processor() {
            content["host_cpu_percent"] = json!(percent);
        }
        content
    }

    /// Percent of one processor since the last measurement; 0 the first time.
    fn processor(&mut self, ticks: u64) -> f64 {
        let now = Instant::now();
        let before = self.processes.replace((now, ticks));
        let Some((then, before)) = before else { return 0.0 };
        let seconds = now.duration_since(then).as_secs_f64().max(1.0 / TICKS);
        percent(ticks.saturating_sub(before) as f64 / TICKS, seconds)
    }

    /// Percent of all processors since the last measurement; `None` the first time.
    fn host_processor(&mut self) -> Option<f64> {
        let now = host_ticks()?;
        let before = self.host.replace(now)?;
        let all = now.all.saturating_sub(before.all).max(1);
        let busy = all.saturating_sub(now.idle.saturating_sub(before.idle));
        Some(percent(busy as f64, all as f64))
    }
}

/// With one digit after the point.
fn percent(part: f64, whole: f64) -> f64 {
    (part / whole * 1000.0).round() / 10.0
}

fn hostname() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Processor time of a process in ticks, if it lives.
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold anything; user and system time are the 12th and 13th after it.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Resident memory of a process in bytes, if it lives.
fn memory(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// The line `name   123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn host_ticks() -> Option<HostTicks> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // Time of guests, the last two, is counted in the first two already.
    let all = fields.iter().take(8).sum();
    Some(HostTicks { idle: fields.get(3)? + fields.get(4)?, all })
}

fn host_memory() -> Value {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name| kilobytes(&text, name).unwrap_or_default();
    let (total, available) = (of("MemTotal:"), of("MemAvailable:"));
    let used = total.saturating_sub(available);
    json!({
        "total": total,
        "available": available,
        "percent": percent(used as f64, total.max(1) as f64),
        "used": used,
        "free": of("MemFree:"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        let mut usage = Usage::default();
        let first = usage.measure(&[]);
        assert!(first["kernel_memory"].as_u64().unwrap() > 1 << 20, "{first}");
        assert!(first.get("host_cpu_percent").is_none(), "there is nothing to compare with yet");
        let started = Instant::now();
        while started.elapsed().as_millis() < 100 {
            std::hint::black_box((0..1_000_u64).sum::<u64>());
        }
        let second = usage.measure(&[u32::MAX]);
        assert!(second["kernel_cpu"].as_f64().unwrap() > 0.0, "{second}");
        assert!(second["host_cpu_percent"].as_f64().unwrap() <= 100.0, "{second}");
        let memory = &second["host_virtual_memory"];
        assert!(memory["total"].as_u64() > memory["used"].as_u64(), "{second}");
    }
}
