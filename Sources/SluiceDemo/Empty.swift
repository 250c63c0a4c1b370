public enum DemoServer { public static func start() throws -> Int { 1 } }
