//! Whether the folder of the state files outlives a crash, as far as its path and its mount tell. What they do not tell:
//! whether a volume outlives its container, and whether somebody clears the folder.

use std::path::{Path, PathBuf};

/// Folders that are cleared at a restart or by age.
const TEMPORARY: [&str; 4] = ["/tmp", "/var/tmp", "/run", "/dev/shm"];

/// Why the folder will probably not last.
pub(super) fn doubt(dir: &Path) -> Option<&'static str> {
    // Only Linux tells of its mounts there.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    reason(&dir, "").or_else(|| reason(&resolved(&dir), &mounts))
}

/// The folder without links, as far as it is there.
fn resolved(dir: &Path) -> PathBuf {
    let real = |part: &Path| Some(part.canonicalize().ok()?.join(dir.strip_prefix(part).ok()?));
    dir.ancestors().find_map(real).unwrap_or_else(|| dir.to_owned())
}

fn reason(dir: &Path, mounts: &str) -> Option<&'static str> {
    if TEMPORARY.iter().any(|temporary| dir.starts_with(temporary)) {
        return Some("it is in a folder for temporary files");
    }
    // A mount hides what was mounted at the same place before.
    let mount = mounts.lines().filter_map(mount).filter(|(at, _)| dir.starts_with(at));
    match mount.max_by_key(|(at, _)| at.components().count())?.1 {
        "tmpfs" | "ramfs" => Some("it is in memory"),
        "overlay" | "aufs" => Some("it is in the layer of a container, and goes with it"),
        _ => None,
    }
}

/// Where something is mounted, and of which kind it is.
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (place, kind) = line.split_once(" - ")?;
    let at = place.split(' ').nth(4)?.replace("\\040", " ");
    Some((at.into(), kind.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_the_folder_tells_whether_it_lasts() {
        let mounts = "\
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
28 27 0:25 / /scratch rw - tmpfs tmpfs rw
29 28 8:2 / /scratch/my\\040disk rw - xfs /dev/sdb1 rw
30 27 0:9 / /twice rw - tmpfs tmpfs rw
31 27 8:3 / /twice rw - ext4 /dev/sdc1 rw
";
        let container = "40 39 0:50 / / rw,relatime - overlay overlay rw\n41 40 8:1 / /state rw - ext4 /dev/sda1 rw\n";
        for (dir, mounts, doubtful) in [
            ("/home/me/.local/state/weir", mounts, false),
            ("/scratch/weir", mounts, true),
            ("/scratch/my disk/weir", mounts, false),
            ("/scratched/weir", mounts, false),
            ("/twice/weir", mounts, false),
            ("/home/me/.local/state/weir", container, true),
            ("/state/weir", container, false),
            ("/tmp/weir", mounts, true),
            ("/tmpfs/weir", mounts, false),
            ("/home/me/.local/state/weir", "", false),
        ] {
            assert_eq!(reason(Path::new(dir), mounts).is_some(), doubtful, "{dir}");
        }
    }
}
