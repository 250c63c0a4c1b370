import Synchronization

/// What all byte queues of the process hold, in bytes of storage; and what libraries hold for encoders of streams.
///
/// The one global of the pure modules: it counts and decides nothing, so that what a queue does never depends on it. Counted when
/// storage is taken and handed back, not when bytes come and go: on the way of a token, which reuses its storage, it is not
/// touched.
public enum BufferedBytes {
    private static let held = Atomic<Int>(0)

    public static var total: Int { held.load(ordering: .relaxed) }

    public static func took(_ bytes: Int) { held.add(bytes, ordering: .relaxed) }
    public static func gaveBack(_ bytes: Int) { held.subtract(bytes, ordering: .relaxed) }
}
