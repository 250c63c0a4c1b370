import Testing

@testable import SluiceIO

@Suite struct MachineMemoryTests {
    @Test func aGroupIsBoundByThoseAboveIt() {
        #expect(
            MachineMemory.controlGroupFiles("0::/kubepods/pod1/c\n") == [
                "/sys/fs/cgroup/kubepods/pod1/c/memory.max", "/sys/fs/cgroup/kubepods/pod1/memory.max",
                "/sys/fs/cgroup/kubepods/memory.max", "/sys/fs/cgroup/memory.max",
            ])
        #expect(MachineMemory.controlGroupFiles("0::/") == ["/sys/fs/cgroup/memory.max"])
    }

    @Test func theFirstVersionsControllerIsOneOfMany() {
        let text = "12:cpu,cpuacct:/a\n7:memory:/b\nnonsense\n"
        #expect(
            MachineMemory.controlGroupFiles(text) == [
                "/sys/fs/cgroup/memory/b/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ])
    }

    @Test(arguments: [
        ("536870912\n", 536_870_912), ("max\n", nil), ("9223372036854771712\n", nil), ("", nil), ("-1\n", nil),
        ("x", nil),
    ])
    func bounds(text: String, bytes: Int?) { #expect(MachineMemory.bound(text) == bytes) }

    @Test func thisMachineHasSome() throws {
        let bytes = try #require(MachineMemory.limitBytes())
        #expect(bytes > 1 << 20 && bytes < 1 << 50)
    }
}
