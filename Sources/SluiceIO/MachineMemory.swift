import CLinux
import Glibc
import Synchronization

/// How much memory this process may use: the machine's, or less where its control group says so.
public enum MachineMemory {
    /// In bytes; nil if neither can be found out.
    public static func limitBytes() -> Int? {
        let groups = readFile("/proc/self/cgroup").map(controlGroupFiles) ?? []
        let bounds = groups.compactMap { readFile($0).flatMap(bound) }
        return ([physicalBytes()].compactMap { $0 } + bounds).min()
    }

    private static func physicalBytes() -> Int? {
        let (pages, size) = (sysconf(Int32(_SC_PHYS_PAGES)), sysconf(Int32(_SC_PAGESIZE)))
        return pages > 0 && size > 0 ? pages.multipliedReportingOverflow(by: size).partialValue : nil
    }

    /// The files that may bound a process with this `/proc/self/cgroup`: its group's and those of all groups above, for version 2
    /// (`0::/path`) and for version 1's memory controller (`5:memory:/path`). See cgroups(7).
    static func controlGroupFiles(_ text: String) -> [String] {
        var files: [String] = []
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let root: String
            let name: String
            if parts[0] == "0", parts[1].isEmpty {
                (root, name) = ("/sys/fs/cgroup", "memory.max")
            } else if parts[1].split(separator: ",").contains("memory") {
                (root, name) = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            } else {
                continue
            }
            var group = parts[2].split(separator: "/")
            files.append(([root] + group.map(String.init) + [name]).joined(separator: "/"))
            while !group.isEmpty {
                group.removeLast()
                files.append(([root] + group.map(String.init) + [name]).joined(separator: "/"))
            }
        }
        return files
    }

    /// `max`, and version 1's number beyond all memory, are no bound.
    static func bound(_ text: String) -> Int? {
        guard let first = text.split(whereSeparator: \.isWhitespace).first, let bytes = Int(first), bytes > 0 else {
            return nil
        }
        return bytes < 1 << 60 ? bytes : nil
    }

    /// Of the kernel's own small files.
    private static func readFile(_ path: String) -> String? {
        let fd = open(path, O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return nil }
        let file = Descriptor(owning: fd)
        return withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 1) { buffer in
            let count = read(file.raw, buffer.baseAddress, buffer.count)
            guard count > 0 else { return nil }
            return String(decoding: buffer[..<count], as: UTF8.self)
        }
    }
}

extension MachineMemory {
    /// 0: nobody is at it. 1: a thread is. 2: it has to begin once more, since more was freed meanwhile.
    private static let givingBack = Atomic<Int>(0)

    /// Has the allocator hand free pages back to the system, on a thread of its own: it may take milliseconds.
    public static func giveBack() {
        guard givingBack.compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing).exchanged else {
            // Whoever is done by now has seen what was freed before.
            _ = givingBack.compareExchange(expected: 1, desired: 2, ordering: .acquiringAndReleasing)
            return
        }
        do {
            try startThread(named: "memory") {
                repeat {
                    givingBack.store(1, ordering: .releasing)
                    malloc_trim(0)
                } while !givingBack.compareExchange(expected: 1, desired: 0, ordering: .acquiringAndReleasing).exchanged
            }
        } catch {
            givingBack.store(0, ordering: .releasing)
        }
    }
}
