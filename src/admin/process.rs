//! What the kernel says of this process, under the names that Prometheus' clients agree on.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads `/proc` with each scrape; what cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (stat, status, limits) = (read("stat"), read("status"), read("limits"));
        if let Some(seconds) = stat.as_deref().and_then(processor_seconds) {
            let counter = ConstCounter::new(seconds);
            let kind = counter.metric_type();
            let help = "Time of processors, of the user's and the system's";
            counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, kind)?)?;
        }
        let memory = |name| status.as_deref().and_then(|status| kibibytes(status, name));
        let started = stat.as_deref().zip(system_start()).and_then(|(stat, boot)| start_seconds(stat, boot));
        let descriptors = std::fs::read_dir("/proc/self/fd").ok().map(|open| open.count());
        let gauges = [
            ("process_resident_memory_bytes", "Memory in use", memory("VmRSS:")),
            ("process_virtual_memory_bytes", "Memory mapped", memory("VmSize:")),
            ("process_open_fds", "Open file descriptors", descriptors.and_then(|open| i64::try_from(open).ok())),
            ("process_max_fds", "File descriptors that may be open", limits.as_deref().and_then(descriptors_max)),
            ("process_start_time_seconds", "When the process started, in Unix time", started),
            ("process_threads", "Threads", status.as_deref().and_then(|status| number(status, "Threads:"))),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                let kind = gauge.metric_type();
                gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
            }
        }
        Ok(())
    }
}

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new("/proc/self").join(name)).ok()
}

/// The fields behind the name, which stands in parentheses and may hold spaces; the first of them is the third of all.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ')
}

fn processor_seconds(stat: &str) -> Option<f64> {
    let mut ticks = fields(stat).skip(11).map(|ticks| ticks.parse::<u64>().ok());
    let ticks = ticks.next()??.saturating_add(ticks.next()??);
    let ticks_per_second = u64::from(TICKS_PER_SECOND);
    let (seconds, rest) = (ticks.checked_div(ticks_per_second)?, ticks.checked_rem(ticks_per_second)?);
    Some(Duration::from_millis(seconds.saturating_mul(1000).saturating_add(rest.saturating_mul(10))).as_secs_f64())
}

fn start_seconds(stat: &str, boot_seconds: i64) -> Option<i64> {
    let ticks: i64 = fields(stat).nth(19)?.parse().ok()?;
    boot_seconds.checked_add(ticks.checked_div(i64::from(TICKS_PER_SECOND))?)
}

fn system_start() -> Option<i64> {
    number(&std::fs::read_to_string("/proc/stat").ok()?, "btime")
}

fn kibibytes(status: &str, name: &str) -> Option<i64> {
    number(status, name)?.checked_mul(1024)
}

/// The number behind a line's name.
fn number(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn descriptors_max(limits: &str) -> Option<i64> {
    number(limits, "Max open files")
}

/// USER_HZ, which Linux fixes for every architecture that this runs on.
const TICKS_PER_SECOND: u32 = 100;

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 2 0 0 0 151 49 0 0 20 0 4 0 1234 99 88";
        assert_eq!(processor_seconds(stat), Some(2.0));
        assert_eq!(start_seconds(stat, 1_000), Some(1_012));
        assert_eq!(kibibytes("VmSize:\t  9 kB\nVmRSS:\t  2048 kB\n", "VmRSS:"), Some(2_097_152));
        assert_eq!(descriptors_max("Limit\nMax open files            1024                 4096 files\n"), Some(1024));
        assert_eq!(descriptors_max("Max open files            unlimited            unlimited files\n"), None);
    }

    #[test]
    fn every_metric_of_the_process_is_there() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for name in
            ["cpu_seconds_total", "resident_memory_bytes", "virtual_memory_bytes", "open_fds", "start_time_seconds"]
        {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} ")));
            let value: f64 = line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap();
            assert!(value >= 0.0, "{name}: {value}");
        }
    }
}
