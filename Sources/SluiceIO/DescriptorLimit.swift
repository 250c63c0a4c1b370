import Glibc

/// How many descriptors the process may have open.
public enum DescriptorLimit {
    /// Raises the soft limit to the hard one, which needs no privilege, and returns what then holds; nil if it cannot be
    /// found out. A proxy needs two for each exchange, and the usual soft limit of 1,024 is for programs that use `select`.
    public static func raise() -> Int? {
        var limit = rlimit()
        let resource = __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
        guard getrlimit(resource, &limit) == 0 else { return nil }
        if limit.rlim_cur < limit.rlim_max {
            let before = limit.rlim_cur
            limit.rlim_cur = limit.rlim_max
            if setrlimit(resource, &limit) != 0 { limit.rlim_cur = before }
        }
        return Int(clamping: limit.rlim_cur)
    }
}
