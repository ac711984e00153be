//! Disks that fail, forget or have no direct I/O, in the laboratory: each is seen for what it is.

use ssts_tests::{Machine, lab, tools};

/// What the laboratory's script and the story's need.
const TOOLS: [&str; 9] = [
    "qemu-system-x86_64",
    "busybox",
    "cpio",
    "modprobe",
    "i2cset",
    "mkfs.ext4",
    "dmsetup",
    "losetup",
    "timeout",
];

const SCRIPT: &str = r#"
# Probes have nothing to do here, and an emulated machine takes seconds to load them.
export SSTSD_OBSERVE__PROBES=false
burn() { "$SSTSCTL" --local --output json burn disk "$@"; }

mkdir /tmp/memory && mount -t tmpfs none /tmp/memory || exit 99
section memory burn --path /tmp/memory --size 1MiB --verify --depth 4 --duration 1s

truncate -s 160M /tmp/image && LOOP=$(losetup --find --show /tmp/image) || exit 99
echo "0 327680 linear $LOOP 0" | dmsetup --noudevrules --noudevsync create failing && dmsetup mknodes || exit 99
mkfs.ext4 -q /dev/mapper/failing && mkdir /tmp/disk && mount /dev/mapper/failing /tmp/disk || exit 99
failing() {
  burn --path /tmp/disk --size 4MiB --depth 4 --rate 200 --duration 20s &
  local run=$!
  # Until it burns: its file is filled by then.
  for ((i = 0; i < 300; i++)); do
    pgrep -f "[e]xe burn --daemon" >/dev/null && break
    sleep 0.1
  done
  sleep 4
  # Works for 0 s, fails for an hour.
  dmsetup --noudevsync suspend --nolockfs failing && echo "0 327680 flakey $LOOP 0 0 3600" | dmsetup load failing && dmsetup --noudevrules --noudevsync resume failing
  wait "$run"
}
section failing failing

export SSTSD_LIMITS__EXPENDABLE_DEVICES=/dev/nullb0
section forgetting burn --path /dev/nullb0 --size 1MiB --rw randrw --verify --depth 4 --duration 20s
export SSTSD_LIMITS__EXPENDABLE_DEVICES=/dev/nullb1
section foreign burn --path /dev/nullb0 --size 1MiB --duration 1s
section after pgrep sstsd
"#;

#[test]
fn bad_disks_are_seen_for_what_they_are() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out(SCRIPT);
    let section = |name: &str| sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"));

    // Linux 6.1 has no direct I/O on tmpfs.
    assert_eq!(section("memory").status, 0, "{}", section("memory").text);
    let result = section("memory").json();
    let variant = result["hosts"][0]["burners"][0]["variant"].as_str().expect("it is text").to_owned();
    assert!(variant.contains("buffered, io_uring"), "{variant}");
    assert!(result.to_string().contains("lives in memory"), "{result:#}");

    // dm-flakey fails every I/O from some instant on.
    let result = section("failing").json();
    assert_eq!(section("failing").status, 3, "{result:#}");
    assert_eq!((&result["verdict"], &result["cause"]), (&"fail".into(), &"io_errors".into()), "{result:#}");
    assert!(result["cause_message"].as_str().is_some_and(|text| text.contains("I/O error")), "{result:#}");
    let burner = &result["hosts"][0]["burners"][0];
    assert!(
        burner["operations"].as_u64() > Some(10) && burner["errors"]["io"].as_u64() > Some(10),
        "{burner:#}"
    );

    // The null block device takes writes and forgets them.
    let result = section("forgetting").json();
    assert_eq!(section("forgetting").status, 6, "{result:#}");
    let message = result["cause_message"].as_str().expect("it is text");
    assert!(message.contains("/dev/nullb0") && message.contains("no block of ours"), "{message}");

    assert_eq!(section("foreign").status, 2, "{}", section("foreign").text);
    assert_eq!(section("after").text, "", "something was left");
}
