Runner.run()
